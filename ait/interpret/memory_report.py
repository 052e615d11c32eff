"""What a trained model's memory does on given images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.layers import LayerScale
from torch import Tensor, nn

from ait.associative_model import AssociativeModel
from ait.block import AssociativeBlock
from ait.memory.capacity import effective_rank, perplexity, retrieval_snr
from ait.memory.hopfield import energy


@dataclass(frozen=True)
class BlockMemory:
    """One block's memory on B images of N patches, with M priors.

    Attributes:
        energy_before: Energy of each patch's query under the stored patterns, shape (B, N).
        energy_after: Energy of what the patch retrieved, shape (B, N); never above ``energy_before``.
        recall: Weight with which each patch recalls each prior, shape (B, N, M).
        effective_rank_priors: Directions that the priors spread over, 1 to M.
        effective_rank_patterns: The same for the stored patterns Y in token space.
        patch_perplexity: Priors that a patch recalls, its recall's perplexity averaged over patches.
        usage_perplexity: Priors in use over all images, the perplexity of the mean recall.
        retrieval_snr: Median over patches of signal over noise of the recall (arXiv 2505.19488).
        sharpness: ``beta * mean |y|^2``, how well stored patterns tell themselves from each other.
        scale: Mean absolute factor of what is retrieved, over channels; 0 where training has not woken the memory.
    """

    energy_before: Tensor
    energy_after: Tensor
    recall: Tensor
    effective_rank_priors: float
    effective_rank_patterns: float
    patch_perplexity: float
    usage_perplexity: float
    retrieval_snr: float
    sharpness: float
    scale: float

    def summary(self) -> dict[str, float]:
        """Return the scalars by name, with the mean energies and the mean drop from one to the other."""
        return {
            "effective_rank_priors": self.effective_rank_priors,
            "effective_rank_patterns": self.effective_rank_patterns,
            "patch_perplexity": self.patch_perplexity,
            "usage_perplexity": self.usage_perplexity,
            "retrieval_snr": self.retrieval_snr,
            "sharpness": self.sharpness,
            "scale": self.scale,
            "energy_before": float(self.energy_before.mean()),
            "energy_after": float(self.energy_after.mean()),
            "energy_drop": float((self.energy_before - self.energy_after).mean()),
        }


@torch.no_grad()
def memory_report(model: AssociativeModel, images: Tensor, batch_size: int = 256) -> list[BlockMemory]:
    """Measure every block's memory on images.

    The model is read in evaluation mode and left in the mode it had; its memory is not written.

    Args:
        model: An AiT model.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        batch_size: Images run at once.

    Returns:
        One `BlockMemory` a block, tensors on the CPU.

    Raises:
        TypeError: If the model has no associative memory.
    """
    queries = [trace.queries for trace in trace_batches(model, images, batch_size)]
    return [
        _block_memory(block, torch.cat([batch[index] for batch in queries]))
        for index, block in enumerate(model.associative_blocks())
    ]


class Trace(NamedTuple):
    """One pass through a model that writes no memory.

    Attributes:
        queries: What the N patches ask each block's memory for, shape (B, N, E) each, float32; of blocks with one.
        tokens: What ``forward_features`` gives, with prefix tokens, equal to the bit where the memory is not adaptive.
    """

    queries: list[Tensor]
    tokens: Tensor


class Recall(NamedTuple):
    """What a block's memory of M priors answers to queries, in float32.

    Attributes:
        energy_before: Energy of each query, shape (B, N).
        energy_after: Energy of what it retrieved, shape (B, N).
        weights: Weight with which each query recalls each prior, shape (B, N, M).
    """

    energy_before: Tensor
    energy_after: Tensor
    weights: Tensor


def trace_batches(model: AssociativeModel, images: Tensor, batch_size: int) -> Iterator[Trace]:
    """Pass images through a model in evaluation mode, and leave it in the mode it had.

    Args:
        model: An AiT model.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        batch_size: Images run at once.

    Yields:
        What `trace_queries` gives for each batch.

    Raises:
        TypeError: If the model has no associative memory.
    """
    if not isinstance(model, AssociativeModel) or not model.associative_blocks():
        raise TypeError(
            f"{type(model).__name__} has no associative memory in its blocks; use an ait_* model with one."
        )
    training = model.training
    model.eval()
    try:
        for batch in images.split(batch_size):
            yield trace_queries(model, batch)
    finally:
        model.train(training)


def trace_queries(model: AssociativeModel, images: Tensor) -> Trace:
    """Find what each block asks its memory for, in one pass that writes no memory.

    Args:
        model: An AiT model in evaluation mode.
        images: Normalised images, shape (B, C, H, W).
    """
    tokens = model.embed_patches(images)
    queries = []
    for block in model.blocks:
        if not isinstance(block, AssociativeBlock):
            tokens = block(tokens)
            continue
        tokens, query = block.trace(tokens)
        queries.append(query[:, model.num_prefix_tokens :].float())
    return Trace(queries, model.norm(tokens))


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """Classify images without writing a memory, even one that evaluation writes.

    Args:
        model: Any classifier, in evaluation mode.
        images: Normalised images, shape (B, C, H, W).

    Returns:
        Logits, shape (B, num_classes).
    """
    if isinstance(model, AssociativeModel):
        logits: Tensor = model.forward_head(trace_queries(model, images).tokens)
    else:
        logits = model(images)
    return logits


def block_recall(block: AssociativeBlock, queries: Tensor) -> Recall:
    """Ask a block's memory.

    Args:
        block: The block.
        queries: Shape (B, N, E), float32.
    """
    retrieved, recall = block.workspace.retrieval(queries, block.workspace.memory.priors)
    return Recall(block_energy(block, queries), block_energy(block, retrieved.float()), recall.float())


def block_energy(block: AssociativeBlock, points: Tensor) -> Tensor:
    """Evaluate the energy of a block's memory.

    Args:
        block: The block.
        points: Shape (..., E), float32.

    Returns:
        Energies, shape (...).
    """
    patterns, beta = stored_patterns(block)
    return energy(points, patterns, beta, block.workspace.retrieval.kernel)


def stored_patterns(block: AssociativeBlock) -> tuple[Tensor, Tensor]:
    """Read the patterns Y of a block's memory, shape (M, E), and its inverse temperature beta, in float32."""
    retrieval, priors = block.workspace.retrieval, block.workspace.memory.priors
    return retrieval.patterns(priors).float(), retrieval.beta().float()


def _block_memory(block: AssociativeBlock, queries: Tensor) -> BlockMemory:
    patterns, beta = stored_patterns(block)
    before, after, recall = block_recall(block, queries)
    return BlockMemory(
        energy_before=before.cpu(),
        energy_after=after.cpu(),
        recall=recall.cpu(),
        effective_rank_priors=effective_rank(block.workspace.memory.priors),
        effective_rank_patterns=effective_rank(patterns),
        patch_perplexity=float(perplexity(recall).mean()),
        usage_perplexity=float(perplexity(recall.flatten(0, 1).mean(0))),
        retrieval_snr=float(retrieval_snr(recall, patterns).median()),
        sharpness=float(beta * patterns.square().sum(-1).mean()),
        scale=_scale(block.workspace.ls),
    )


def _scale(layer: nn.Module) -> float:
    return float(layer.gamma.abs().mean()) if isinstance(layer, LayerScale) else 1.0


def describe(report: Sequence[BlockMemory]) -> str:
    """Format the scalars of a report as aligned text, one line per block."""
    header = ["block", "rank(priors)", "rank(Y)", "patch", "usage", "SNR", "scale", "E before", "E after"]
    lines = ["  ".join(f"{name:>12}" for name in header)]
    for index, block in enumerate(report):
        values = [
            block.effective_rank_priors,
            block.effective_rank_patterns,
            block.patch_perplexity,
            block.usage_perplexity,
            block.retrieval_snr,
            block.scale,
            float(block.energy_before.mean()),
            float(block.energy_after.mean()),
        ]
        lines.append("  ".join([f"{index:>12}", *(f"{value:>12.3g}" for value in values)]))
    return "\n".join(lines)
