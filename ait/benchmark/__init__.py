"""How fast models run, as a share of what the machine's matrix products reach."""

from ait.benchmark.model import Measurement, ModelBenchmark, benchmark_model, vit_like

__all__ = ["Measurement", "ModelBenchmark", "benchmark_model", "vit_like"]
