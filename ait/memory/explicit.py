"""The explicit memory: unit-norm priors, and the rules by which a write target changes them.

The rules follow the unified view of associative memory updates in arXiv 2505.19488, with one slot a prior in
place of one key a column. Every rule ends with rows of unit L2 norm.
"""

import warnings
from typing import Final

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import Tensor, nn

WRITE_RULES: Final = ("ewma", "hebbian", "decay", "delta", "gated_delta")

# Sharpness with which a write target recalls what the priors already hold, before that is erased (delta rules).
ERASE_BETA = 8.0


def write(priors: Tensor, target: Tensor, rule: str, rate: float, retention: float) -> Tensor:
    """Apply one write rule.

    With priors ``g``, targets ``y``, rate ``a``, retention ``c`` and ``held = softmax(8 y g^T) g``, what the
    memory already returns for the target:

    * ``ewma``: ``(1 - a) g + a y`` (arXiv 2309.12862, eq. 6)
    * ``hebbian``: ``g + a y``
    * ``decay``: ``c g + a y``
    * ``delta``: ``g + a (y - held)``, erase what is held, then add
    * ``gated_delta``: ``c g + a (y - c held)``

    Args:
        priors: Unit-norm priors, shape (M, D).
        target: What each prior should move towards, shape (M, D).
        rule: One of ``WRITE_RULES``.
        rate: Step ``a`` of a write, in (0, 1].
        retention: Share ``c`` of the old memory that the gated rules keep, in (0, 1].

    Returns:
        New unit-norm priors, shape (M, D).

    Raises:
        ValueError: If the rule is unknown.
    """
    if rule == "ewma":
        written = (1 - rate) * priors + rate * target
    elif rule == "hebbian":
        written = priors + rate * target
    elif rule == "decay":
        written = retention * priors + rate * target
    elif rule == "delta":
        written = priors + rate * (target - _held(target, priors))
    elif rule == "gated_delta":
        written = retention * priors + rate * (target - retention * _held(target, priors))
    else:
        raise ValueError(f"Unknown write rule {rule!r}; choose one of {', '.join(WRITE_RULES)}.")
    return F.normalize(written, dim=-1)


def _held(target: Tensor, priors: Tensor) -> Tensor:
    """Recall what the memory returns for each target already, shape (M, D)."""
    return torch.softmax(ERASE_BETA * target @ priors.mT, dim=-1) @ priors


def orthogonalise(target: Tensor, steps: int = 8) -> Tensor:
    """Give the rows of a write target a flat spectrum, so that the priors cannot fall onto each other.

    The mean over the priors is removed (it would be common to all of them), and Newton-Schulz steps
    ``X <- 1.5 X - 0.5 X X^T X`` then raise small singular values towards one. Each step raises them at most
    1.5 times, so directions that hold nothing but rounding stay small.

    Args:
        target: Write targets, shape (M, D).
        steps: Newton-Schulz steps.

    Returns:
        Targets with unit-norm rows, shape (M, D).
    """
    centred = target - target.mean(0, keepdim=True)
    spread = centred / centred.norm().clamp_min(1e-6)
    if spread.shape[0] > spread.shape[1]:
        spread = spread.mT
    for _ in range(steps):
        spread = 1.5 * spread - 0.5 * (spread @ spread.mT) @ spread
    if spread.shape != centred.shape:
        spread = spread.mT
    return F.normalize(spread, dim=-1)


@register_notrace_module
class ExplicitMemory(nn.Module):
    """Priors that all images share: a float32 buffer of unit-norm rows.

    The module never writes by itself. ``propose`` computes new priors inside the graph, so that the task's
    gradient reaches whatever made the target; a call stores them, detached. Priors that are not finite, as an image
    of NaN makes them, are not stored: every later answer would be NaN.

    Args:
        num_priors: Number of priors M.
        prior_dim: Width D of a prior.
        write_rule: One of ``WRITE_RULES``.
        write_rate: Step of a write, in (0, 1].
        retention: Share of the old memory that ``decay`` and ``gated_delta`` keep, in (0, 1].
    """

    write_rule: Final[str]
    priors: Tensor
    _is_impure = True  # fx keeps calls whose result nobody reads

    def __init__(
        self,
        num_priors: int = 32,
        prior_dim: int = 32,
        write_rule: str = "ewma",
        write_rate: float = 0.1,
        retention: float = 0.9,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if write_rule not in WRITE_RULES:
            raise ValueError(f"Unknown write rule {write_rule!r}; choose one of {', '.join(WRITE_RULES)}.")
        if num_priors < 1 or prior_dim < 1:
            raise ValueError(f"num_priors and prior_dim are at least 1, got {num_priors=} and {prior_dim=}.")
        if not (0 < write_rate <= 1 and 0 < retention <= 1):
            raise ValueError(f"write_rate and retention lie in (0, 1], got {write_rate=} and {retention=}.")
        self.write_rule = write_rule
        self.write_rate = write_rate
        self.retention = retention
        self.register_buffer("priors", torch.empty(num_priors, prior_dim, device=device, dtype=torch.float32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw random unit-norm priors."""
        nn.init.normal_(self.priors)
        with torch.no_grad():
            self.priors.copy_(F.normalize(self.priors, dim=-1))

    def propose(self, priors: Tensor, target: Tensor) -> Tensor:
        """Compute the priors (M, D) after writing ``target`` (M, D) into ``priors`` (M, D); differentiable."""
        return write(priors, target, self.write_rule, self.write_rate, self.retention)

    def forward(self, written: Tensor | None = None) -> Tensor:
        """Commit new priors (M, D), if given, and return a copy of the memory.

        A module call, so that tracers keep reading and writing as steps rather than as constants.

        Args:
            written: New priors, shape (M, D). Where any number is not finite, the memory stays as it was; on a CPU
                a warning says so (elsewhere it would hold the device up).
        """
        if written is not None:
            with torch.no_grad():
                finite = written.isfinite().all()
                self.priors.copy_(torch.where(finite, written, self.priors))
                self._warn_unless(finite)
        return self.priors.clone()

    @torch.jit.unused
    def _warn_unless(self, finite: Tensor) -> None:
        if torch.compiler.is_compiling() or finite.device.type != "cpu" or finite:
            return
        warnings.warn(
            "What was to be written into the memory is not finite, so the priors stay as they were. Is there NaN or "
            "infinity in the images, or has training diverged?",
            stacklevel=2,
        )

    def extra_repr(self) -> str:
        """Size and rule, as ``print(model)`` shows them."""
        num_priors, prior_dim = self.priors.shape
        return f"{num_priors}, {prior_dim}, write_rule={self.write_rule!r}, write_rate={self.write_rate}"
