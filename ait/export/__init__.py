"""Models as files for other runtimes: torch.export, ONNX, and folders for the hub and for servers.

No file is accepted unseen: it is written beside its place, loaded again, compared with the eager model on images at
several batch sizes, and only then moved to where it was asked for.
"""

from ait.export.agreement import Agreement, Export, ExportError, compare
from ait.export.hub import export_hub
from ait.export.onnx import export_onnx
from ait.export.program import METADATA_FILE, export_program
from ait.export.serving import export_serving

__all__ = [
    "METADATA_FILE",
    "Agreement",
    "Export",
    "ExportError",
    "compare",
    "export_hub",
    "export_onnx",
    "export_program",
    "export_serving",
]
