"""Explain the answer to one image, in the process that holds the model."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import torch

import ait.interpret.explain
from ait.interpret.exemplars import Exemplars
from service.model_process.mixed_batch import MixedBatch

if TYPE_CHECKING:
    from service.model_process.classifier import Classifier

PRIORS = 3  # that each patch recalled, at most
CLASSES = 3  # that examples are looked for in
EXAMPLES = 4  # a class, at most


def explain(classifier: Classifier, image: MixedBatch, class_index: int | None, threads: int = 0) -> dict[str, Any]:
    """Explain the answer to one image.

    Args:
        classifier: The loaded model, which has it in torch.
        image: A batch of one.
        class_index: The class to explain; None is the most probable one.
        threads: Of torch; 0 leaves them as they are.

    Returns:
        Named results: numpy arrays, and what JSON can say. `logits` (classes,) and the `class_index`; where there
        is a patch map, its `map` (rows, columns), `map_rest`, `map_logit`, `map_method`; of L blocks with a memory,
        `energy_before`, `energy_after` and `energy` (L, patches), `responsibilities` (L, patches, L), `recalled` and
        `recall_weights` (L, patches, k) and `priors`; `without_retrieval` (classes,), the logits if a model with a
        memory retrieved nothing; of an associative head `class_recall` (classes, priors a class); and `examples`,
        where the checkpoint has any.
    """
    model = classifier.torch_model
    assert model is not None
    if threads:
        torch.set_num_threads(threads)
    found = ait.interpret.explain.explain(model.module, model.assemble(image), class_index, PRIORS)
    results: dict[str, Any] = {
        "logits": found.logits.numpy(),
        "class_index": int(found.logits.argmax()) if class_index is None else class_index,
        "examples": _examples(classifier.exemplars, found),
    }
    if found.patch_map is not None:
        results |= {
            "map": found.patch_map.values.numpy(),
            "map_rest": found.patch_map.rest,
            "map_logit": found.patch_map.logit,
            "map_method": found.patch_map.method,
        }
    if found.without_retrieval is not None:
        results["without_retrieval"] = found.without_retrieval.numpy()
    if found.blocks:
        results |= {
            "priors": [block.num_priors for block in found.blocks],
            "energy_before": torch.stack([block.energy_before for block in found.blocks]).numpy(),
            "energy_after": torch.stack([block.energy_after for block in found.blocks]).numpy(),
            "energy": torch.stack([block.energy for block in found.blocks]).numpy(),
            "responsibilities": torch.stack([block.responsibilities for block in found.blocks]).numpy(),
            "recalled": torch.stack([block.priors for block in found.blocks]).numpy(),
            "recall_weights": torch.stack([block.weights for block in found.blocks]).numpy(),
        }
    if found.class_recall is not None:
        results["class_recall"] = found.class_recall.numpy()
    return results


def _examples(exemplars: Exemplars | None, found: ait.interpret.explain.Explanation) -> list[dict[str, Any]]:
    if exemplars is None:
        return []
    best = found.logits.topk(min(CLASSES, len(found.logits))).indices.tolist()
    return [{"class_index": index, "nearest": _nearest(exemplars, found, index)} for index in best]


def _nearest(exemplars: Exemplars, found: ait.interpret.explain.Explanation, label: int) -> list[dict[str, Any]]:
    nearest = []
    for neighbour in exemplars.nearest(found.features, found.logits, label, EXAMPLES):
        width, height = exemplars.sizes[neighbour.index]
        nearest.append(
            {
                "name": exemplars.names[neighbour.index],
                "similarity": neighbour.similarity,
                "thumbnail": base64.b64encode(exemplars.thumbnails[neighbour.index]).decode(),
                "width": width,
                "height": height,
            }
        )
    return nearest
