"""Time models as a share of what the machine's matrix products reach.

Absolute times say more about the machine than about the model, so every figure is a ratio taken in one run: the
model's multiply-adds x 2 a second over the best rate of a plain matrix product at the same precision, whichever
library reaches it.
"""

import copy
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ait.associative_model import AssociativeModel
from ait.benchmark.cost import count_flops
from ait.benchmark.limit import MatrixProduct, seconds_of
from ait.export import ExportError
from ait.export.graph import reference_images, write_graphs
from ait.preprocessing import data_config_of
from ait.vit.variants import PREFIX
from ait.vit.vision_transformer import AssociativeVisionTransformer
from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import (
    GRAPH_RUNTIMES,
    Agreement,
    Outputs,
    PreparedModel,
    RuntimeUnavailable,
    compare,
    compare_graph,
    open_graph,
    why,
)

Key = TypeVar("Key")

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
RUNTIMES = ("torch", *GRAPH_RUNTIMES)


@dataclass(frozen=True)
class Measurement:
    """One timed case.

    Attributes:
        model: Its name.
        phase: ``forward`` (evaluation, frozen memory) or ``train`` (forward, backward; no optimiser).
        runtime: ``torch``, ``openvino`` or ``onnxruntime``.
        precision: ``fp32``, ``bf16`` or ``int8``. Training in bf16 is autocast over float32 weights.
        batch_size: Images a step.
        images_per_second: Median over rounds.
        gflop_per_image: Multiply-adds x 2 of matrix products, convolution and attention, in 1e9.
        gemm_fraction: Rate over that of the machine's fastest matrix product at that precision (of int8, at fp32),
            timed right before and after.
        agreement: With the model in torch and fp32, on made images, in evaluation; None for that itself.
    """

    model: str
    phase: str
    runtime: str
    precision: str
    batch_size: int
    images_per_second: float
    gflop_per_image: float
    gemm_fraction: float
    agreement: Agreement | None = None

    def to_dict(self) -> dict[str, str | int | float]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class ModelBenchmark:
    """All cases of one run.

    Attributes:
        device: Where it ran.
        threads: CPU threads.
        gemm_gflops: Best matrix-product rate a precision, in 1e9 operations a second.
        gemm_library: Which library reached it.
        measurements: The cases.
        left_out: Why a case was not measured, by model, runtime and precision.
    """

    device: str
    threads: int
    gemm_gflops: dict[str, float]
    gemm_library: dict[str, str]
    measurements: list[Measurement]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-ready values."""
        return asdict(self)


def vit_like(model: Any) -> VisionTransformer:
    """Timm's plain ViT of the same width, depth, heads, patch and input size as an AiT model."""
    vit: Any
    if isinstance(model, AssociativeVisionTransformer):
        config: Any = model.pretrained_cfg
        vit = timm.create_model(config["architecture"].removeprefix(PREFIX))
        assert isinstance(vit, VisionTransformer)
        return vit
    vit = VisionTransformer(
        img_size=model.patch_embed.img_size,
        patch_size=model.patch_embed.patch_size,
        in_chans=model.in_chans,
        num_classes=model.num_classes,
        embed_dim=model.embed_dim,
        depth=len(model.blocks),
        num_heads=model.num_heads,
        mlp_ratio=model.mlp_ratio,
        class_token=False,
        global_pool="avg",
    )
    vit.pretrained_cfg = model.pretrained_cfg  # says the size of its images to whatever asks
    assert isinstance(vit, VisionTransformer)
    return vit


def benchmark_model(
    name: str = "ait_small_patch4_32",
    batch_sizes: Iterable[int] = (1, 32),
    precisions: Iterable[str] = ("fp32", "bf16"),
    phases: Iterable[str] = ("forward", "train"),
    seconds: float = 2.0,
    rounds: int = 5,
    device: str = "cpu",
    compile_model: bool = False,
    runtimes: Iterable[str] = ("torch",),
    on_case: Callable[[str], None] = lambda label: None,
) -> ModelBenchmark:
    """Time an AiT model and a timm ViT of its size, in turns, against the machine's matrix products.

    Args:
        name: A registered ``ait_*`` model.
        batch_sizes: Images a step.
        precisions: ``fp32``, ``bf16`` and/or ``int8``.
        phases: ``forward`` and/or ``train``.
        seconds: Time a case and model, spread over the rounds.
        rounds: Turns; the models and the matrix product alternate within each.
        device: ``cpu`` or ``cuda``.
        compile_model: Time the models under ``torch.compile``.
        runtimes: ``torch``, ``openvino`` and/or ``onnxruntime``; only torch trains. What is not installed, or cannot
            compute so here, is left out and told.
        on_case: Called with a label before each case, for progress.

    Returns:
        The measurements.

    Raises:
        ValueError: If a precision, phase or runtime is unknown, nothing is left to time, or the model is no AiT
            model.
    """
    batch_sizes, precisions, phases, runtimes = list(batch_sizes), list(precisions), list(phases), list(runtimes)
    _check("precision", precisions, PRECISIONS)
    _check("phase", phases, ("forward", "train"))
    _check("runtime", runtimes, RUNTIMES)
    if "forward" not in phases and "torch" not in runtimes:
        raise ValueError(f"Only torch trains, not {' or '.join(runtimes)}: add torch or the phase forward.")
    if set(precisions) == {"int8"} and ("forward" not in phases or set(runtimes) == {"torch"}):
        raise ValueError("Torch has no int8 here: add another runtime and the phase forward, or another precision.")
    ait_model = timm.create_model(name)
    if not isinstance(ait_model, AssociativeModel):
        raise ValueError(f"{name} is no AiT model; choose another, such as ait_tiny_patch4_32.")
    models = {name: ait_model, f"vit ({name.removeprefix('ait_')})": vit_like(ait_model)}
    built: Any = ait_model
    image_shape = (built.pretrained_cfg["input_size"][0], *built.patch_embed.img_size)

    products: dict[str, MatrixProduct] = {}
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        on_case("graphs") if set(runtimes) - {"torch"} else None
        subjects = [_Subject(label, model, Path(folder), runtimes, precisions) for label, model in models.items()]
        for precision in precisions:
            limit = "fp32" if precision == "int8" else precision
            product = products[limit] = products.get(limit) or MatrixProduct(PRECISIONS[limit], device)
            for phase in phases:
                for batch_size in batch_sizes:
                    on_case(f"{phase} {precision} batch {batch_size}")
                    images = torch.randn(batch_size, *image_shape, device=device)
                    flops = {subject: _count_flops(subject.model, phase, images.cpu()) for subject in subjects}
                    steps = _steps(subjects, runtimes, phase, precision, images, compile_model)
                    for (subject, runtime), (rate, ratio) in _race(steps, product, seconds, rounds, device).items():
                        measurements.append(
                            Measurement(
                                model=subject.label,
                                phase=phase,
                                runtime=runtime,
                                precision=precision,
                                batch_size=batch_size,
                                images_per_second=rate * batch_size,
                                gflop_per_image=flops[subject] / batch_size / 1e9,
                                gemm_fraction=ratio * flops[subject] / 1e9,
                                agreement=subject.agreement(runtime, precision, phase, device),
                            )
                        )
    return ModelBenchmark(
        device=device,
        threads=torch.get_num_threads(),
        gemm_gflops={name: product.best for name, product in products.items()},
        gemm_library={name: product.name for name, product in products.items()},
        measurements=measurements,
        left_out={name: reason for subject in subjects for name, reason in subject.left_out.items()},
    )


def _check(what: str, asked: list[str], known: Collection[str]) -> None:
    if unknown := sorted(set(asked) - set(known)):
        raise ValueError(f"Unknown {what} {unknown[0]!r}; choose one of {', '.join(known)}.")


def _steps(
    subjects: "list[_Subject]",
    runtimes: list[str],
    phase: str,
    precision: str,
    images: Tensor,
    compile_model: bool,
) -> "dict[tuple[_Subject, str], Callable[[], object]]":
    """Make what is timed in turns: every model in every runtime that can do it."""
    steps: dict[tuple[_Subject, str], Callable[[], object]] = {}
    for subject in subjects:
        if precision != "int8" and "torch" in runtimes:
            steps[subject, "torch"] = _step(subject.model, phase, precision, images, compile_model)
        for runtime in runtimes if phase == "forward" else ():
            if step := subject.step(runtime, precision, images):
                steps[subject, runtime] = step
    return steps


class _Subject:
    """A model that is timed, and its graphs."""

    def __init__(self, label: str, model: nn.Module, folder: Path, runtimes: list[str], precisions: list[str]) -> None:
        self.label, self.model = label, model
        self.left_out: dict[str, str] = {}
        self._prepared: PreparedModel | None = None
        self._runs: dict[tuple[str, str], Callable[[np.ndarray], Outputs] | None] = {}
        self._agreements: dict[tuple[str, str], Agreement] = {}
        self._in_bf16: dict[str, Agreement] = {}
        if set(runtimes) - {"torch"}:
            place = folder / label.replace(" ", "-").replace("(", "").replace(")", "")
            place.mkdir()
            try:
                self._prepared = write_graphs(model, place, int8="int8" in precisions)
            except ExportError as error:
                self.left_out[f"{label}, all runtimes but torch"] = str(error)

    def step(self, runtime: str, precision: str, images: Tensor) -> Callable[[], object] | None:
        """Make a step that runs the graph; None for torch, and where there is none."""
        if runtime == "torch" or self._prepared is None:
            return None
        key = runtime, precision
        if key not in self._runs:
            self._runs[key] = self._open(*key)
        run, pixels = self._runs[key], images.cpu().numpy()
        return None if run is None else lambda: run(pixels)

    def agreement(self, runtime: str, precision: str, phase: str, device: str) -> Agreement | None:
        """Compare with eager in fp32; None for that itself."""
        if (runtime, precision) != ("torch", "bf16"):
            return self._agreements.get((runtime, precision))
        if phase not in self._in_bf16:
            self._in_bf16[phase] = self._compare_bf16(device, mixed=phase == "train")
        return self._in_bf16[phase]

    def _open(self, runtime: str, precision: str) -> Callable[[np.ndarray], Outputs] | None:
        assert self._prepared is not None
        path = self._prepared.graph(precision)
        try:
            if path is None:
                raise RuntimeUnavailable("no int8 graph answers as the model does, or onnxruntime is not installed")
            run = open_graph(runtime, path, precision, threads=torch.get_num_threads())
            reference = self._prepared.reference()
            pixels = Normalising(self._prepared.data_config)(reference.images)
            self._agreements[runtime, precision] = compare_graph(run, pixels, reference.outputs, precision)
        except Exception as error:  # whatever a library raises for a graph that it cannot run
            self.left_out[f"{self.label}, {runtime} {precision}"] = why(error)
            return None
        return run

    @torch.inference_mode()
    def _compare_bf16(self, device: str, *, mixed: bool) -> Agreement:
        """Compare torch in bf16 with itself in fp32; `mixed` keeps the weights in fp32, as training does."""
        images, _ = reference_images(self.model, None)
        pixels = torch.from_numpy(Normalising(data_config_of(self.model))(images)).to(device)
        eager = copy.deepcopy(self.model).to(device).float().eval()

        def answers(model: nn.Module, dtype: torch.dtype) -> Outputs:
            logits = torch.cat([model(part.to(dtype)) for part in pixels.split(32)])
            return Outputs(logits.float().cpu().numpy(), None)

        expected = answers(eager, torch.float32)
        if not mixed:
            return compare(expected, answers(eager.bfloat16(), torch.bfloat16))
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            return compare(expected, answers(eager, torch.float32))


def _loss(model: nn.Module, images: Tensor) -> Tensor:
    labels = torch.zeros(images.shape[0], dtype=torch.long, device=images.device)
    if isinstance(model, AssociativeModel):
        output = model.forward_training(images)
        return nn.functional.cross_entropy(output.logits.float(), labels) + 1e-2 * output.balance_loss
    return nn.functional.cross_entropy(model(images).float(), labels)


def _count_flops(model: nn.Module, phase: str, images: Tensor) -> int:
    """Multiply-adds x 2 of one step; attention is counted as its two matrix products."""
    model = model.cpu().float().train(phase == "train")

    def step() -> None:
        if phase == "train":
            _loss(model, images).backward()
        else:
            with torch.no_grad():
                model(images)

    flops = count_flops(step)
    model.zero_grad(set_to_none=True)
    return flops


def _step(model: nn.Module, phase: str, precision: str, images: Tensor, compile_model: bool) -> Callable[[], None]:
    dtype = PRECISIONS[precision]
    device = images.device
    model = model.to(device)
    if phase == "forward":
        # A copy: casting to bf16 and back would round the weights.
        frozen = copy.deepcopy(model).eval().to(dtype)
        run = torch.compile(frozen) if compile_model else frozen
        inputs = images.to(dtype)

        def forward() -> None:
            with torch.inference_mode():
                run(inputs)

        return forward

    trained = copy.deepcopy(model).train()
    loss_of = torch.compile(_loss) if compile_model else _loss

    def train() -> None:
        with torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32"):
            loss = loss_of(trained, images)
        loss.backward()
        trained.zero_grad(set_to_none=True)

    return train


def _race(
    steps: dict[Key, Callable[[], object]], gemm: Callable[[], float], seconds: float, rounds: int, device: str
) -> dict[Key, tuple[float, float]]:
    """Median over rounds of each step's rate and of its product-normalised rate.

    The clock of a shared machine wanders by a factor of two within seconds. Every timing therefore stands
    between two timings of the matrix product, and the ratio is taken before the median.

    Returns:
        A label to steps a second, and to steps a second over 1e9 matrix-product operations a second.
    """
    repeats = {}
    for label, step in steps.items():
        step()
        repeats[label] = max(1, round(seconds / rounds / seconds_of(step, 1, device)))
    rates: dict[Key, list[float]] = {label: [] for label in steps}
    ratios: dict[Key, list[float]] = {label: [] for label in steps}
    for _ in range(rounds):
        before = gemm()
        for label, step in steps.items():
            rate = repeats[label] / seconds_of(step, repeats[label], device)
            after = gemm()
            rates[label].append(rate)
            ratios[label].append(rate / ((before + after) / 2))
            before = after
    return {label: (median(rates[label]), median(ratios[label])) for label in steps}
