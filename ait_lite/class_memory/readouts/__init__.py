"""Four readouts of one memory of classes: ridge regression, Hopfield retrieval in two forms, and class means.

Each says how it scores a query, what single examples add to the score of their label, what the scores would be had
one example never been stored, and how it scores examples as if each had not.
"""

from ait_lite.class_memory.readouts.hopfield import AssociativeReadout, HopfieldReadout
from ait_lite.class_memory.readouts.prototype import PrototypeReadout
from ait_lite.class_memory.readouts.readout import Readout, one_hot
from ait_lite.class_memory.readouts.regression import Ridge, solve
from ait_lite.class_memory.readouts.ridge import RidgeReadout

__all__ = [
    "AssociativeReadout",
    "HopfieldReadout",
    "PrototypeReadout",
    "Readout",
    "Ridge",
    "RidgeReadout",
    "one_hot",
    "solve",
]
