"""How fast a model runs, as a share of what the machine's matrix products reach.

Absolute times say more about the machine than about the model, so every figure is a ratio taken in one run: the
model's multiply-adds x 2 a second over the best rate of a plain matrix product at the same precision.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ait.associative_transformer import AssociativeTransformer

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

# One timing of a matrix product.
_GEMM_SECONDS = 0.15
# (rows, inner, columns) of the products whose best rate is the machine's: large squares, and a transformer's.
_GEMM_SHAPES = ((2048, 2048, 2048), (4096, 1024, 4096), (2048, 768, 3072), (2048, 3072, 768))


@dataclass(frozen=True)
class Measurement:
    """One timed case.

    Attributes:
        model: Its name.
        phase: ``forward`` (evaluation, frozen memory) or ``train`` (forward, backward; no optimiser).
        precision: ``fp32`` or ``bf16``. Training in bf16 is autocast over float32 weights.
        batch_size: Images a step.
        images_per_second: Median over rounds.
        gflop_per_image: Multiply-adds x 2 of matrix products, convolution and attention, in 1e9.
        gemm_fraction: Rate over that of the machine's fastest matrix product at that precision, timed right
            before and after.
    """

    model: str
    phase: str
    precision: str
    batch_size: int
    images_per_second: float
    gflop_per_image: float
    gemm_fraction: float

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
        measurements: The cases.
    """

    device: str
    threads: int
    gemm_gflops: dict[str, float]
    measurements: list[Measurement]

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON-ready values."""
        return asdict(self)


def vit_like(model: AssociativeTransformer) -> VisionTransformer:
    """Timm's plain ViT of the same width, depth, heads, patch and input size as an AiT model."""
    return VisionTransformer(
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


def benchmark_model(
    name: str = "ait_small_patch4_32",
    batch_sizes: Iterable[int] = (1, 32),
    precisions: Iterable[str] = ("fp32", "bf16"),
    phases: Iterable[str] = ("forward", "train"),
    seconds: float = 2.0,
    rounds: int = 5,
    device: str = "cpu",
    compile_model: bool = False,
    on_case: Callable[[str], None] = lambda label: None,
) -> ModelBenchmark:
    """Time an AiT model and a timm ViT of its size, in turns, against the machine's matrix products.

    Args:
        name: A registered ``ait_*`` model.
        batch_sizes: Images a step.
        precisions: ``fp32`` and/or ``bf16``.
        phases: ``forward`` and/or ``train``.
        seconds: Time a case and model, spread over the rounds.
        rounds: Turns; the models and the matrix product alternate within each.
        device: ``cpu`` or ``cuda``.
        compile_model: Time the models under ``torch.compile``.
        on_case: Called with a label before each case, for progress.

    Returns:
        The measurements.

    Raises:
        ValueError: If a precision or phase is unknown, or the model is no AiT model.
    """
    batch_sizes, precisions, phases = list(batch_sizes), list(precisions), list(phases)
    if unknown := sorted(set(precisions) - set(PRECISIONS)):
        raise ValueError(f"Unknown precision {unknown[0]!r}; choose fp32 or bf16.")
    if unknown := sorted(set(phases) - {"forward", "train"}):
        raise ValueError(f"Unknown phase {unknown[0]!r}; choose forward or train.")
    ait_model = timm.create_model(name)
    if not isinstance(ait_model, AssociativeTransformer):
        raise ValueError(f"{name} is no AiT model; choose one of {', '.join(timm.list_models('ait_*'))}.")
    models = {name: ait_model, f"vit ({name.removeprefix('ait_')})": vit_like(ait_model)}
    size = ait_model.patch_embed.img_size

    gemm_rates: dict[str, float] = {}
    measurements = []
    for precision in precisions:
        gemm = _Gemm(PRECISIONS[precision], device)
        for phase in phases:
            for batch_size in batch_sizes:
                on_case(f"{phase} {precision} batch {batch_size}")
                images = torch.randn(batch_size, ait_model.in_chans, *size, device=device)
                steps, flops = {}, {}
                for label, model in models.items():
                    flops[label] = _count_flops(model, phase, images.cpu()) / batch_size
                    steps[label] = _step(model, phase, precision, images, compile_model)
                raced = _race(steps, gemm, seconds, rounds, device)
                for label, (rate, ratio) in raced.items():
                    measurements.append(
                        Measurement(
                            model=label,
                            phase=phase,
                            precision=precision,
                            batch_size=batch_size,
                            images_per_second=rate * batch_size,
                            gflop_per_image=flops[label] / 1e9,
                            gemm_fraction=ratio * batch_size * flops[label] / 1e9,
                        )
                    )
        gemm_rates[precision] = gemm.best
    return ModelBenchmark(device, torch.get_num_threads(), gemm_rates, measurements)


def _loss(model: nn.Module, images: Tensor) -> Tensor:
    labels = torch.zeros(images.shape[0], dtype=torch.long, device=images.device)
    if isinstance(model, AssociativeTransformer):
        output = model.forward_training(images)
        return nn.functional.cross_entropy(output.logits.float(), labels) + 1e-2 * output.balance_loss
    return nn.functional.cross_entropy(model(images).float(), labels)


def _count_flops(model: nn.Module, phase: str, images: Tensor) -> int:
    """Multiply-adds x 2 of one step; attention is counted as its two matrix products."""
    model = model.cpu().float().train(phase == "train")
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        if phase == "train":
            _loss(model, images).backward()
        else:
            with torch.no_grad():
                model(images)
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops()


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
    steps: dict[str, Callable[[], None]], gemm: Callable[[], float], seconds: float, rounds: int, device: str
) -> dict[str, tuple[float, float]]:
    """Median over rounds of each step's rate and of its product-normalised rate.

    The clock of a shared machine wanders by a factor of two within seconds. Every timing therefore stands
    between two timings of the matrix product, and the ratio is taken before the median.

    Returns:
        A label to steps a second, and to steps a second over 1e9 matrix-product operations a second.
    """
    repeats = {}
    for label, step in steps.items():
        step()
        repeats[label] = max(1, round(seconds / rounds / _seconds_of(step, 1, device)))
    rates: dict[str, list[float]] = {label: [] for label in steps}
    ratios: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(rounds):
        before = gemm()
        for label, step in steps.items():
            rate = repeats[label] / _seconds_of(step, repeats[label], device)
            after = gemm()
            rates[label].append(rate)
            ratios[label].append(rate / ((before + after) / 2))
            before = after
    return {label: (median(rates[label]), median(ratios[label])) for label in steps}


class _Gemm:
    """The machine's matrix product at one precision: the fastest of a few shapes.

    Calling it returns its present rate in 1e9 operations a second.
    """

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        self.device = device
        self.best = 0.0
        candidates = []
        for shape in _GEMM_SHAPES:
            self._prepare(shape, dtype)
            candidates.append((max(self() for _ in range(3)), shape))
        self._prepare(max(candidates)[1], dtype)

    def _prepare(self, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
        rows, inner, columns = shape
        self.operations = 2 * rows * inner * columns
        self.left = torch.randn(rows, inner, dtype=dtype, device=self.device)
        self.right = torch.randn(inner, columns, dtype=dtype, device=self.device)
        self.product = torch.empty(rows, columns, dtype=dtype, device=self.device)
        self._multiply()

    def _multiply(self) -> None:
        torch.mm(self.left, self.right, out=self.product)

    def __call__(self) -> float:
        repeats = max(1, round(_GEMM_SECONDS / _seconds_of(self._multiply, 1, self.device)))
        rate = repeats * self.operations / _seconds_of(self._multiply, repeats, self.device) / 1e9
        self.best = max(self.best, rate)
        return rate


def _seconds_of(step: Callable[[], None], repeats: int, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
