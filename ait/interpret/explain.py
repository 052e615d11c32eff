"""Why a model answers as it does on one image: which patches speak for a class, and what its memory recalled."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ait.associative_model import AssociativeModel
from ait.interpret.attribution import patch_grid, patch_terms
from ait.interpret.causal import interventions, logits_under
from ait.interpret.embedding import pooled_features
from ait.interpret.energy_report import LayerEnergies, layer_energies
from ait.interpret.memory_report import Recall, block_recall, trace_queries
from ait.memory.associative_head import AssociativeHead

Method = Literal["contribution", "gradient"]


@dataclass(frozen=True)
class PatchMap:
    """What each patch says for or against a class.

    Attributes:
        label: The class.
        values: Shape (rows, columns), positive where a patch speaks for the class. ``values.sum() + rest == logit``.
        rest: What is not any patch's: biases, positions, other tokens and, of an associative memory, the recalled
            patterns.
        logit: The model's answer for the class.
        method: ``contribution`` for the terms of the input's patches, ``gradient`` for those of the last feature map.
    """

    label: int
    values: Tensor
    rest: float
    logit: float
    method: Method


@dataclass(frozen=True)
class BlockRecall:
    """What one block's memory of M priors did with each of N patches.

    Attributes:
        num_priors: M.
        energy_before: Energy of each patch's query under the stored patterns, shape (N,).
        energy_after: Energy of what the patch retrieved, shape (N,); not above ``energy_before``.
        energy: Energy of each patch's query under the patterns of all blocks together, shape (N,).
        responsibilities: Share of each of the model's L blocks in that energy, shape (N, L); see
            `ait.interpret.energy_report`.
        priors: The priors that each patch recalled most strongly, the strongest first, shape (N, k) int64.
        weights: How strongly, as shares of 1, shape (N, k).
    """

    num_priors: int
    energy_before: Tensor
    energy_after: Tensor
    energy: Tensor
    responsibilities: Tensor
    priors: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Explanation:
    """What a model saw in one image. Tensors are float32 on the CPU.

    Attributes:
        logits: The model's answer, shape (classes,).
        features: The image's feature vector (`ait.interpret.embedding`), shape (F,).
        patch_map: None if the model has neither patches nor a feature map.
        blocks: Each block's memory, its patches in the rows of the map; empty for a model without.
        without_retrieval: What the answer would be if nothing were retrieved, shape (classes,): the difference is what
            the memory contributes. None for a model without one before its head.
        class_recall: How strongly an associative head recalled each of the K priors of each class, as shares of 1,
            shape (classes, K); a class's sum is its probability, without a temperature. None for another head.
    """

    logits: Tensor
    features: Tensor
    patch_map: PatchMap | None
    blocks: tuple[BlockRecall, ...]
    without_retrieval: Tensor | None = None
    class_recall: Tensor | None = None


def explain(model: nn.Module, image: Tensor, label: int | None = None, priors: int = 3) -> Explanation:
    """Explain a model's answer to one image.

    The map of a model that cuts its input into patches holds each patch's term in the class's logit
    (`ait.interpret.attribution`): what it adds over a patch of the mean colour, with attention, norms, activations and
    recall held as they are on this image. For AiT and timm's ViT that is exact, and it needs one pass forward and one
    back.

    It was chosen by measurement. On an earlier bundled model, with a flattened head, and 80 CIFAR-10 test images,
    patches were deleted (mean colour) and inserted in the map's order; the area between the two curves of the
    class's probability is 0.349 (standard error 0.015), against 0.336 for the terms of the last tokens, 0.355 for
    integrated gradients of 8 steps, 0.36 for occlusion of each of the 64 patches, 0.22 for attention roll-out, and
    0.20 for gradient times input. On made images where one patch decides, and small AiT models of 2 and 4 blocks
    that have learned so, it finds that patch in 95 to 100 of 100 images, integrated gradients in 72 to 95, and the
    terms of the last tokens in none to 4: the tokens exchange what they know, so where it ends up says little of
    where it came from.

    Of other models the last feature map is taken, times the gradient of the logit by it; where the classifier is
    linear in its mean, as in most convolutional networks, that is the logit's sum over the cells.

    The model is run in evaluation mode and left in the mode it had; its memory is not written. No other thread may
    use it meanwhile.

    Args:
        model: A timm classifier.
        image: Normalised, shape (1, C, H, W), on the model's device.
        label: The class whose map is wanted; None is the best one.
        priors: Recalled priors a patch to tell, k; fewer where the memory holds fewer.

    Raises:
        ValueError: There is more than one image, no such class, or the model has no classifier.
    """
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"explain takes one image of shape (1, C, H, W), got {tuple(image.shape)}.")
    if getattr(model, "num_classes", 0) < 1:
        raise ValueError(f"{type(model).__name__} has no classes to explain: num_classes is 0.")
    training = model.training
    model.eval()
    try:
        # A map needs gradients, whatever the caller switched off.
        with torch.inference_mode(False), torch.no_grad():
            return _explain(model, image.clone(), label, priors)
    finally:
        model.train(training)


def _explain(model: Any, image: Tensor, label: int | None, priors: int) -> Explanation:
    queries, tokens = _features(model, image)
    logits = model.forward_head(tokens).float()[0]
    label = int(logits.argmax()) if label is None else label
    if not 0 <= label < len(logits):
        raise ValueError(f"there is no class {label}: the model knows {len(logits)}, from 0.")
    values, method = _values(model, image, tokens, label)
    patch_map = None
    if values is not None:
        logit = float(logits[label])
        patch_map = PatchMap(label, values, logit - float(values.double().sum()), logit, method)
    blocks = model.associative_blocks() if queries else []
    energies = layer_energies(model, queries) if queries else None
    features, head = pooled_features(model, tokens), getattr(model, "get_classifier", lambda: None)()
    return Explanation(
        logits=logits.cpu(),
        features=features[0].cpu(),
        patch_map=patch_map,
        blocks=tuple(
            _strongest(block_recall(block, query), energies, index, priors)
            for index, (block, query) in enumerate(zip(blocks, queries, strict=True))
            if energies is not None
        ),
        without_retrieval=logits_under(model, image, "retrieval_off")[0].cpu()
        if "retrieval_off" in interventions(model)
        else None,
        class_recall=head.recall_weights(features)[0].cpu() if isinstance(head, AssociativeHead) else None,
    )


def _features(model: Any, image: Tensor) -> tuple[list[Tensor], Tensor]:
    """Collect the queries to each block's memory, if any, and what the classifier reads."""
    if isinstance(model, AssociativeModel):
        return trace_queries(model, image)
    return [], model.forward_features(image)


def _values(model: Any, image: Tensor, tokens: Tensor, label: int) -> tuple[Tensor | None, Method]:
    grid = patch_grid(model, (image.shape[2], image.shape[3]))
    if grid is not None:

        def answer(pixels: Tensor) -> Tensor:
            return model.forward_head(_features(model, pixels)[1])[0, label]

        return patch_terms(answer, model, image, grid).cpu(), "contribution"
    if not isinstance(tokens, Tensor) or tokens.ndim != 4:
        return None, "gradient"
    with torch.enable_grad():
        read = tokens.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.forward_head(read)[0, label], read)
    return (tokens * gradient)[0].float().sum(2 if _channels_last(model, tokens) else 0).cpu(), "gradient"


def _channels_last(model: Any, cells: Tensor) -> bool:
    channels = getattr(model, "num_features", None)
    return getattr(model, "output_fmt", None) == "NHWC" or cells.shape[1] != channels == cells.shape[3]


def _strongest(recall: Recall, energies: LayerEnergies, index: int, priors: int) -> BlockRecall:
    before, after, weights = recall
    best = weights[0].topk(min(priors, weights.shape[-1]), dim=-1)
    return BlockRecall(
        num_priors=weights.shape[-1],
        energy_before=before[0].cpu(),
        energy_after=after[0].cpu(),
        energy=energies.energy[index, 0].cpu(),
        responsibilities=energies.responsibilities[index, 0].cpu(),
        priors=best.indices.cpu(),
        weights=best.values.cpu(),
    )
