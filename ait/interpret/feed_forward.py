"""Feed-forward networks seen as memories (arXiv 2505.19488): ``sum_i v_i act(k_i . x + b_i)``.

The rows of the first matrix are keys, the columns of the second one values. A key fires where the activation lets its
product with a token through; the value is then added to the token.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from ait.interpret.memory_report import answer

_FIRES = 1e-3  # of the layer's largest activation: below, a key says nothing


@dataclass(frozen=True)
class FeedForwardMemory:
    """One feed-forward network on B images, with m keys.

    Attributes:
        name: Of the module in its model.
        width: Numbers in a token, E.
        strongest: The images that fire each key most, the strongest first, shape (m, k) int64.
        activations: How strongly, the largest activation among the image's tokens, shape (m, k).
        share: Share of tokens in which each key fires, shape (m,).
        dead: Share of keys that fire in no token.
        snr: Median over tokens of signal over noise: the squared norm of the largest term ``v_i act_i`` over that of
            the sum of all others. Below 1 no single key decides what is added.
        keys_per_token: Median over tokens of the number of keys that carry what is added: the perplexity of
            ``|v_i act_i|^2`` as shares.
    """

    name: str
    width: int
    strongest: Tensor
    activations: Tensor
    share: Tensor
    dead: float
    snr: float
    keys_per_token: float

    @property
    def keys(self) -> int:
        """Number of keys m."""
        return len(self.share)

    def order(self) -> Tensor:
        """Sort the keys by their strongest activation, the strongest first, (m,) int64."""
        return self.activations[:, 0].argsort(descending=True, stable=True)


def feed_forwards(model: nn.Module) -> dict[str, Mlp]:
    """Find the feed-forward networks of a timm model, by name: those with two matrices and no gate."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Mlp) and isinstance(module.fc1, nn.Linear) and isinstance(module.norm, nn.Identity)
    }


@torch.no_grad()
def feed_forward_report(
    model: nn.Module, images: Tensor, count: int = 8, batch_size: int = 64
) -> list[FeedForwardMemory]:
    """Look at every feed-forward network of a model as a memory.

    The model is read in evaluation mode and left in the mode it had; its memory is not written.

    Args:
        model: A timm model with `timm.layers.Mlp` in its blocks, as ViT and AiT.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        count: Images to name per key, k; fewer where there are fewer.
        batch_size: Images run at once.

    Returns:
        One entry per network, tensors on the CPU.

    Raises:
        TypeError: The model has no such network.
    """
    found = feed_forwards(model)
    if not found:
        raise TypeError(f"{type(model).__name__} has no feed-forward networks of two matrices to look at.")
    readers = {name: _Reader(module) for name, module in found.items()}
    training = model.training
    model.eval()
    try:
        with _reading({module: readers[name].read for name, module in found.items()}):
            for batch in images.split(batch_size):
                answer(model, batch)
    finally:
        model.train(training)
    return [reader.summary(name, min(count, len(images))) for name, reader in readers.items()]


class _Reader:
    """Gather what passes through one network, batch by batch."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._values = module.fc2.weight.float().square().sum(0)  # (m,), squared lengths of the values
        self._peaks: list[Tensor] = []
        self._snr: list[Tensor] = []
        self._spread: list[Tensor] = []
        self._fired = torch.zeros_like(self._values)
        self._tokens = 0

    def read(self, tokens: Tensor) -> None:
        hidden = self._module.act(self._module.fc1(tokens)).float()
        images = hidden.flatten(1, -2)  # (B, N, m)
        self._peaks.append(images.amax(1).cpu())
        flat = images.flatten(0, 1)  # (B N, m)
        self._fired += (flat > _FIRES * flat.max()).sum(0)
        self._tokens += len(flat)
        shares = flat.square() * self._values  # (B N, m), |v_i act_i|^2
        signal, index = shares.max(1)
        weight = self._module.fc2.weight.float()  # (E, m)
        largest = flat.gather(1, index[:, None]) * weight.T[index]  # (B N, E)
        noise = (flat @ weight.T - largest).square().sum(1)
        self._snr.append((signal / noise.clamp_min(torch.finfo(torch.float32).tiny)).cpu())
        shares = shares / shares.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        self._spread.append(torch.special.entr(shares).sum(1).exp().cpu())

    def summary(self, name: str, count: int) -> FeedForwardMemory:
        peaks = torch.cat(self._peaks)  # (B, m)
        best = peaks.topk(count, dim=0)
        share = self._fired.cpu() / self._tokens
        return FeedForwardMemory(
            name=name,
            width=self._module.fc1.in_features,
            strongest=best.indices.T,
            activations=best.values.T,
            share=share,
            dead=float((share == 0).double().mean()),
            snr=float(torch.cat(self._snr).median()),
            keys_per_token=float(torch.cat(self._spread).median()),
        )


@contextmanager
def _reading(readers: dict[Mlp, Callable[[Tensor], None]]) -> Iterator[None]:
    """Hand what enters each network to its reader, for the time of a ``with`` block."""
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, read=read: read(inputs[0]))
        for module, read in readers.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def feed_forward_inputs(model: nn.Module, images: Tensor, batch_size: int = 64) -> dict[str, Tensor]:
    """Collect the tokens that enter each feed-forward network, shape (T, E) each, on the CPU.

    Args:
        model: As for `feed_forward_report`, in evaluation mode.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        batch_size: Images run at once.
    """
    found = feed_forwards(model)
    gathered: dict[str, list[Tensor]] = {name: [] for name in found}

    def keep(name: str) -> Callable[[Tensor], None]:
        return lambda tokens: gathered[name].append(tokens.flatten(0, -2).float().cpu())

    with _reading({module: keep(name) for name, module in found.items()}):
        for batch in images.split(batch_size):
            answer(model, batch)
    return {name: torch.cat(parts) for name, parts in gathered.items()}
