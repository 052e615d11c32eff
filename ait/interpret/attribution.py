"""How a vision transformer's answer adds up from the patches of its input.

A transformer is not linear, but most of it chooses and scales rather than computes: attention weights say from where
tokens are taken, norms by how much they are divided, activations how much of a number passes, and an associative
memory which priors are recalled. With these choices held as they are on an image, the rest of the network is affine,
and every patch of the input has its own term in the answer (conservative propagation, arXiv 2202.07304).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from timm.layers import GELU, GELUTanh, LayerNormFp32, PatchEmbed, QuickGELU, RmsNorm, RmsNormFp32
from timm.layers import LayerNorm as TimmLayerNorm
from torch import Tensor, nn
from torch.nn import functional as F

from ait.latent.recall_merge import RecallMerge
from ait.memory.associative_head import AssociativeHead
from ait.memory.hopfield import HopfieldRetrieval

# Each gives its input times a factor: one that depends on the number itself, or on all numbers of a token.
_FACTORS: Final = (nn.GELU, nn.SiLU, GELU, GELUTanh, QuickGELU, nn.RMSNorm, RmsNorm, RmsNormFp32)
# Exactly these: subclasses normalise other axes, or activate too.
_LAYER_NORMS: Final = (nn.LayerNorm, TimmLayerNorm, LayerNormFp32)
# What timm's attention calls queries and keys after their optional norm.
_QUERIES_AND_KEYS: Final = ("q_norm", "k_norm")


def patch_grid(model: nn.Module, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of the patches that a model cuts an image into; None if it does not.

    Args:
        model: A timm model.
        size: Height and width of the image in pixels.
    """
    for module in model.modules():
        if isinstance(module, PatchEmbed):
            rows, columns = module.dynamic_feat_size(size)
            return int(rows), int(columns)
    return None


def patch_terms(answer: Callable[[Tensor], Tensor], model: nn.Module, image: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute the term of each patch of an image in an answer, (rows, columns) in float32.

    A term is what the patch adds over a patch of the mean colour, which normalisation makes zero. What remains of the
    answer is what biases, positions, other tokens and the recalled patterns add. Hooks hold the model while this
    runs: no other thread may use it.

    Args:
        answer: From an image, shape (1, C, H, W), to one number, through the model.
        model: In evaluation mode.
        image: Normalised, shape (1, C, H, W).
        grid: Rows and columns of the patches.
    """
    with held(model), torch.inference_mode(False), torch.enable_grad():
        pixels = image.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(answer(pixels), pixels)
    terms = (pixels.detach() * gradient)[0].float().sum(0)  # (H, W)
    rows, columns = grid
    height, width = -(-terms.shape[0] // rows), -(-terms.shape[1] // columns)
    padded = F.pad(terms, (0, columns * width - terms.shape[1], 0, rows * height - terms.shape[0]))
    return padded.view(rows, height, columns, width).sum((1, 3))


@contextmanager
def held(model: nn.Module) -> Iterator[None]:
    """Let gradients take as constant what a model chooses: attention weights, scales of norms, activations, recall.

    Its answers stay what they are, up to rounding. What it is made of otherwise, such as attention that does not name
    its queries and keys as timm's does, is differentiated as ever.
    """
    handles = []
    for name, module in model.named_modules():
        hook = _hook(name, module)
        if hook is not None:
            handles.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, module: nn.Module) -> Callable[[Any, tuple[Any, ...], Any], Any] | None:
    if name.rpartition(".")[2] in _QUERIES_AND_KEYS:
        return lambda _, inputs, output: output.detach()
    if isinstance(module, HopfieldRetrieval):
        return lambda _, inputs, output: tuple(part.detach() for part in output)
    if isinstance(module, RecallMerge):
        return lambda merge, inputs, _: merge.shares(inputs[0]).detach().mT @ inputs[0] + merge.values
    if isinstance(module, AssociativeHead):
        return _hold_class_memory
    if type(module) in _LAYER_NORMS and len(getattr(module, "normalized_shape", ())) == 1:
        return _hold_layer_norm
    if isinstance(module, _FACTORS) and not getattr(module, "inplace", False):
        return _hold_factor
    return None


def _hold_layer_norm(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred * (centred.detach().square().mean(-1, keepdim=True) + module.eps).rsqrt()
    if module.weight is not None:
        scaled = scaled * module.weight
    return scaled if module.bias is None else scaled + module.bias


def _hold_class_memory(module: AssociativeHead, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    """Hold by how much features are divided, and which of a class's priors are recalled."""
    features = inputs[0].float()
    query = features / features.detach().norm(dim=-1, keepdim=True).clamp_min(1e-12)
    scaled = module.beta() * torch.einsum("...f,ckf->...ck", query, module.priors())
    affine = (scaled.detach().softmax(-1) * scaled).sum(-1)
    return affine + (output - affine).detach()


def _hold_factor(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0]
    factor = torch.where(x == 0, 0.0, output / x)  # at zero any factor gives zero
    return x * factor.detach()
