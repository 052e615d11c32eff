"""Tracking swaps of stored values: one layer of DeltaFormer does what softmax attention does not (arXiv 2505.19488).

A swap of places i and j is one write: key ``k_i - k_j``, value zero. With a kernel that gives +-1 on a key and 0
between keys, the write erases ``v_i - v_j`` from the one and adds it to the other. The first part uses such keys as
they are, the second learns keys and values from random ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.memory.delta_attention import correct, delta_attention
from ait.memory.kernels import kernel
from training.experiments import style
from training.experiments.outcome import Check, Outcome

PLACES, LENGTH = 5, 16
PAIRS = [(i, j) for i in range(PLACES) for j in range(i)]


def swap_error(name: str, items: int, dim: int, swaps: int, seed: int) -> float:
    """Swap stored values many times, and read all of them.

    Args:
        name: Kernel between keys and of the reading.
        items: Number of stored values.
        dim: Width of the random unit keys.
        swaps: Number of swaps.
        seed: Seed of keys and swaps.

    Returns:
        Norm of the error over the norm of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(items, dim, generator=generator, dtype=torch.float64), dim=-1)
    values = torch.randn(items, 32, generator=generator, dtype=torch.float64)
    place = torch.arange(items)
    swap_keys = []
    for _ in range(swaps):
        pair = torch.randperm(items, generator=generator)[:2]
        swap_keys.append(keys[pair[0]] - keys[pair[1]])
        place[pair] = place[pair.flip(0)]
    sequence = torch.cat([keys, torch.stack(swap_keys)])
    written = torch.cat([values, values.new_zeros(swaps, values.shape[1])])
    read = kernel(keys, sequence, name) @ correct(sequence, written, key_kernel=name)
    return float((read - values[place]).norm() / values.norm())


def swap_sequences(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences of swaps.

    Returns:
        Swap tokens, shape (batch, LENGTH), and the item at the first place after each swap, same shape.
    """
    tokens = torch.randint(len(PAIRS), (batch, LENGTH), generator=generator)
    pairs = torch.tensor(PAIRS)[tokens]  # (batch, LENGTH, 2)
    place = torch.arange(PLACES).expand(batch, -1).clone()
    answers = []
    for step in pairs.unbind(1):
        place.scatter_(1, step, place.gather(1, step).flip(1))
        answers.append(place[:, 0].clone())
    return tokens, torch.stack(answers, 1)


class DeltaTracker(nn.Module):
    """One DeltaFormer layer with linear kernels over learned keys and values of tokens.

    Args:
        dim: Width of keys and values.
    """

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(PLACES + len(PAIRS), dim) / dim**0.5)
        self.values = nn.Parameter(torch.randn(PLACES + len(PAIRS), dim) / dim**0.5)
        self.query = nn.Parameter(torch.randn(dim) / dim**0.5)
        self.head = nn.Linear(dim, PLACES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Answer after each swap: tokens (B, T) to logits (B, T, PLACES)."""
        first = torch.arange(PLACES).expand(len(tokens), -1)  # the items are written one to a place
        sequence = torch.cat([first, tokens + PLACES], dim=1)
        keys = self.keys[sequence]
        outputs = delta_attention(
            self.query.expand_as(keys), keys, self.values[sequence], key_kernel="linear", query_kernel="linear"
        )
        return self.head(outputs[:, PLACES:])


class SoftmaxTracker(nn.Module):
    """A causal transformer of softmax attention, with positions and feed-forward layers.

    Args:
        dim: Width.
        layers: Number of layers.
    """

    def __init__(self, dim: int = 48, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(PAIRS), dim)
        self.positions = nn.Parameter(torch.randn(LENGTH, dim) / dim**0.5)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(dim, PLACES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Answer after each swap: tokens (B, T) to logits (B, T, PLACES)."""
        causal = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.layers(self.tokens(tokens) + self.positions, mask=causal, is_causal=True))


def train(model: nn.Module, steps: int, seed: int, rate: float) -> Tensor:
    """Train a tracker on fresh sequences.

    Returns:
        Accuracy after each swap on 4,096 other sequences, shape (LENGTH,).
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    for _ in range(steps):
        tokens, answers = swap_sequences(128, generator)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    tokens, answers = swap_sequences(4096, generator)
    with torch.no_grad():
        return (model(tokens).argmax(-1) == answers).float().mean(0)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Swap with given keys, then learn to swap; one layer must track what softmax attention loses."""
    errors = {
        "round": swap_error("round", 64, 1536, 256, seed),
        "linear": swap_error("linear", 64, 1536, 256, seed),
        "round, keys not near-orthogonal": swap_error("round", 128, 128, 256, seed),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        delta = train(DeltaTracker(), 3000 if full else 1200, seed, rate=1e-2)
        softmax = train(SoftmaxTracker(), 3000 if full else 600, seed, rate=2e-3)
    checks = [
        Check("error after 256 swaps of 64 items, round", errors["round"], 0.0, 1e-9, 0.0),
        Check("error after 256 swaps of 64 items, linear", errors["linear"], 0.1, float("inf")),
        Check("one delta layer, last of 16 swaps", float(delta[-1]), 0.99, 1.0, 1.0),
        Check("two softmax layers, last of 16 swaps", float(softmax[-1]), 0.0, 0.6, 1 / PLACES),
    ]
    figure, (axes,) = style.new_figure()
    for look, (name, curve) in zip(
        style.series(), {"one delta layer": delta, "two softmax layers": softmax}.items(), strict=False
    ):
        axes.plot(range(1, LENGTH + 1), curve, label=name, **look)
    axes.axhline(1 / PLACES, label="chance", **style.THEORY)
    axes.set(xlabel="swaps so far", ylabel="item at the first place known", ylim=(0, 1.05))
    axes.legend(fontsize=8)
    curves = {"delta": delta.tolist(), "softmax": softmax.tolist()}
    return Outcome(f"Tracking swaps of {PLACES} items", checks, figure, {"errors": errors, "accuracy": curves})
