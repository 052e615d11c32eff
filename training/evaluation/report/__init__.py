"""Draw the figures of a run, and write the report that gathers them."""

from training.evaluation.report.calibration import draw_reliability
from training.evaluation.report.confusion import draw_confusion
from training.evaluation.report.curves import draw_curves
from training.evaluation.report.document import write_report
from training.evaluation.report.memory import draw_memory_health

__all__ = ["draw_confusion", "draw_curves", "draw_memory_health", "draw_reliability", "write_report"]
