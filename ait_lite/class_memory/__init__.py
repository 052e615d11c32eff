"""A memory of classes: labelled feature vectors that answer at once, and forget to the bit.

Keys are the feature vectors of a frozen backbone. Everything a memory knows is its set of examples; sums over them
are kept as integers, so that adding and removing commute exactly. NumPy alone: a server without torch can use it.
"""

from ait_lite.class_memory.checks import READOUTS
from ait_lite.class_memory.folder import MemoryFolder, MemoryFolderError, Source, locked, open_memory
from ait_lite.class_memory.head import memory_of_head
from ait_lite.class_memory.memory import ClassMemory
from ait_lite.class_memory.results import Evidence, Fullness, Recall

__all__ = [
    "READOUTS",
    "ClassMemory",
    "Evidence",
    "Fullness",
    "MemoryFolder",
    "MemoryFolderError",
    "Recall",
    "Source",
    "locked",
    "memory_of_head",
    "open_memory",
]
