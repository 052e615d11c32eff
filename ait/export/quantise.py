"""Quantise a graph to 8-bit integers."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ait.export.prepare import quiet
from ait_lite.runtimes import Agreement, Answering, Outputs, compare_graph, open_graph

# The others take little time, and lose more; convolutions whose range is measured for every batch are slow.
_PRODUCTS: Final = ["MatMul", "Gemm"]
CALIBRATION: Final = 64  # images that tell the ranges of activations
_BATCH: Final = 8


def quantise(
    graph: Path,
    path: Path,
    pixels: np.ndarray,
    expected: Outputs,
    answering: Answering,
    *,
    calibration: np.ndarray,
) -> None:
    """Write the best of a few int8 graphs.

    *Dynamic* measures the range of activations for every batch, *static* takes the range that images showed
    beforehand. Signed weights are the fastest where the processor adds up products of 8 bits exactly (VNNI), and
    lose more where it does not. Of those that agree with the model the fastest is kept, else the one that agrees most.

    Args:
        graph: The float32 ONNX file.
        path: The file to write.
        pixels: Normalised images to compare on, float32 (N, C, H, W).
        expected: The eager model's outputs for them.
        answering: What is made of logits.
        calibration: Normalised images that tell the ranges of activations, float32 (n, C, H, W).
    """
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, make in _WAYS.items():
            made = Path(temporary) / f"{name}.onnx"
            with quiet():
                make(graph, made, calibration)
            found.append((*_tried(made, pixels, expected, answering), made))
        good = [each for each in found if each[0].enough("int8")]
        if good:
            _, _, best = min(good, key=lambda each: each[1])
        else:
            _, _, best = max(found, key=lambda each: each[0].same_label)
        path.write_bytes(best.read_bytes())


def _dynamic(graph: Path, path: Path, calibration: np.ndarray) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, path, op_types_to_quantize=_PRODUCTS, weight_type=QuantType.QInt8)


def _dynamic_unsigned(graph: Path, path: Path, calibration: np.ndarray) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, path, op_types_to_quantize=_PRODUCTS, per_channel=True, weight_type=QuantType.QUInt8)


def _static(graph: Path, path: Path, calibration: np.ndarray) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = iter(
                calibration[start : start + _BATCH] for start in range(0, len(calibration), _BATCH)
            )

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixels": batch}

    quantize_static(
        graph,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*_PRODUCTS, "Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def _tried(path: Path, pixels: np.ndarray, expected: Outputs, answering: Answering) -> tuple[Agreement, float]:
    run = open_graph("onnxruntime", path, "int8")
    agreement = compare_graph(run, pixels, expected, "int8", answering)
    fastest = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        run(pixels[:_BATCH])
        fastest = min(fastest, time.perf_counter() - start)
    return agreement, fastest


_WAYS: Final[dict[str, Callable[[Path, Path, np.ndarray], None]]] = {
    "dynamic": _dynamic,
    "dynamic, unsigned": _dynamic_unsigned,
    "static": _static,
}
