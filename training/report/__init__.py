"""Pictures of a run, and the report that gathers them."""

from training.report.calibration import draw_reliability
from training.report.confusion import draw_confusion
from training.report.curves import draw_curves
from training.report.document import write_report
from training.report.memory import draw_memory_health

__all__ = ["draw_confusion", "draw_curves", "draw_memory_health", "draw_reliability", "write_report"]
