"""The machine's limit: the best rate of a matrix product, whichever library reaches it."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

# One timing of a matrix product.
_SECONDS: Final = 0.15
# (rows, inner, columns) of the products whose best rate is the machine's: large squares, and a transformer's.
_SHAPES: Final = ((2048, 2048, 2048), (4096, 1024, 4096), (2048, 768, 3072), (2048, 3072, 768))

_WORTH: Final = 0.8  # of the fastest's rate, below which a library is not tried at further shapes

Multiply = Callable[[], object]
Shape = tuple[int, int, int]


class MatrixProduct:
    """The machine's fastest matrix product at one precision; calling it returns its present rate.

    torch's product in fp32 is tried both ways that it has (MKL and oneDNN), and NumPy's, OpenVINO's and ONNX Runtime's
    are, where they are installed: a share of a slow one would flatter.

    Attributes:
        name: Of the library that is the fastest.
        best: The best rate so far, in 1e9 operations a second.
    """

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        """Try all libraries at a few shapes, and keep the fastest.

        Args:
            dtype: Of the factors.
            device: ``cpu`` or ``cuda``.
        """
        self._device = device
        self.best = 0.0
        self.name = ""
        self._operations = 0
        self._multiply: Multiply = lambda: None
        rates: dict[str, float] = {}  # of the first shape
        fastest = 0.0
        for shape in _SHAPES:
            for name, multiply in _products(shape, dtype, device):
                if name in rates and rates[name] < _WORTH * max(rates.values()):
                    continue
                operations = 2 * math.prod(shape)
                multiply()
                rate = self._rate(multiply, operations)
                rates.setdefault(name, rate)
                if rate > fastest:
                    fastest, self.name = rate, name
                    self._multiply, self._operations = multiply, operations

    def __call__(self) -> float:
        """Measure the present rate, in 1e9 operations a second."""
        return self._rate(self._multiply, self._operations)

    def _rate(self, multiply: Multiply, operations: int) -> float:
        first = seconds_of(multiply, 1, self._device)
        repeats = round(_SECONDS / first) - 1
        seconds = first if repeats < 1 else seconds_of(multiply, repeats, self._device) / repeats
        rate = operations / seconds / 1e9
        self.best = max(self.best, rate)
        return rate


def seconds_of(step: Multiply, repeats: int, device: str) -> float:
    """Time a number of repetitions."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _products(shape: Shape, dtype: torch.dtype, device: str) -> Iterator[tuple[str, Multiply]]:
    rows, inner, columns = shape
    left = torch.randn(rows, inner, dtype=dtype, device=device)
    right = torch.randn(inner, columns, dtype=dtype, device=device)
    product = torch.empty(rows, columns, dtype=dtype, device=device)
    yield "torch", lambda: torch.mm(left, right, out=product)
    if device != "cpu":
        return
    if dtype is torch.float32:
        yield "torch (oneDNN)", lambda: _onednn(left, right, product)
        one, two, out = left.numpy(), right.numpy(), product.numpy()
        yield "numpy", lambda: np.matmul(one, two, out=out)
    for name, make in (("openvino", _openvino), ("onnxruntime", _onnxruntime)):
        if find_spec(name) and (multiply := make(shape, dtype)):
            yield name, multiply


def _onednn(left: torch.Tensor, right: torch.Tensor, product: torch.Tensor) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        torch.mm(left, right, out=product)
    finally:
        torch.set_float32_matmul_precision(before)


def _openvino(shape: Shape, dtype: torch.dtype) -> Multiply | None:
    from ait_lite.runtimes.openvino_graph import computes_bf16, core, openvino

    if dtype is torch.bfloat16 and not computes_bf16():
        return None
    rows, inner, columns = shape
    left = openvino.opset13.parameter([rows, inner], np.float32)
    right = openvino.opset13.constant(np.random.default_rng(0).standard_normal((inner, columns), np.float32))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    model = openvino.Model([openvino.opset13.matmul(left, right, False, False)], [left])
    request: Any = core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ones((rows, inner), np.float32)))
    return lambda: request.infer()


def _onnxruntime(shape: Shape, dtype: torch.dtype) -> Multiply | None:
    if dtype is not torch.float32 or not find_spec("onnx"):
        return None
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from ait_lite.runtimes.onnxruntime_graph import session

    rows, inner, columns = shape
    right = np.random.default_rng(0).standard_normal((inner, columns), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.FLOAT, [rows, inner])],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "product.onnx")
        run = session(Path(folder) / "product.onnx", torch.get_num_threads())
    left = np.ones((rows, inner), np.float32)
    return lambda: run.run(None, {"left": left})
