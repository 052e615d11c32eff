"""Turn what a model's process says of an image (`service.model_process.explain`) into the answer of `/explain`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from service.images.overlay import data_uri, overlay
from service.scores import best_labels


def patch_map(results: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any] | None:
    """Make the `PatchMap` of the answer; None if the model has none."""
    if "map" not in results:
        return None
    index = results["class_index"]
    return {
        "label": labels[index],
        "index": index,
        "method": results["map_method"],
        "values": numbers(results["map"].ravel()),
        "logit": number(results["map_logit"]),
        "rest": number(results["map_rest"]),
    }


def blocks(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make the `Block`s of the answer; none if the model has no memory."""
    rows = zip(
        results.get("priors", ()),
        results.get("energy_before", ()),
        results.get("energy_after", ()),
        results.get("energy", ()),
        results.get("responsibilities", ()),
        results.get("recalled", ()),
        results.get("recall_weights", ()),
        strict=True,
    )
    return [
        {
            "priors": priors,
            "energy_before": numbers(before),
            "energy_after": numbers(after),
            "energy": numbers(energy),
            "responsibilities": [[round(share, 4) for share in patch] for patch in shares.tolist()],
            "recalled": [
                [[prior, round(weight, 4)] for prior, weight in zip(*patch, strict=True)]
                for patch in zip(recalled.tolist(), weights.tolist(), strict=True)
            ],
        }
        for priors, before, after, energy, shares, recalled, weights in rows
    ]


def without_memory(
    results: Mapping[str, Any], probabilities: Callable[[np.ndarray], np.ndarray], labels: Sequence[str], top_k: int
) -> dict[str, Any] | None:
    """Make the `WithoutMemory` of the answer; None if the model has no memory.

    Args:
        results: What the model's process said.
        probabilities: Turns logits (1, classes) into the model's probabilities.
        labels: Class names, by index.
        top_k: How many classes to name.
    """
    logits = results.get("without_retrieval")
    if logits is None:
        return None
    best = best_labels(probabilities(logits[None]), labels, top_k)[0]
    return {
        "labels": [{"label": label, "score": score} for label, score in best],
        "logit": number(float(logits[results["class_index"]])),
    }


def class_recall(results: Mapping[str, Any], labels: Sequence[str], top_k: int) -> list[dict[str, Any]] | None:
    """Make the `ClassRecall`s of the answer; None if the model's head holds no memory of classes.

    Args:
        results: What the model's process said.
        labels: Class names, by index.
        top_k: How many classes to name.
    """
    recall = results.get("class_recall")
    if recall is None:
        return None
    best = recall.sum(1).argsort(kind="stable")[::-1][:top_k]
    return [
        {"label": labels[index], "recalled": [round(share, 4) for share in recall[index].tolist()]}
        for index in best.tolist()
    ]


def examples(results: Mapping[str, Any], labels: Sequence[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """Make the `ClassExamples` of the answer.

    Args:
        results: What the model's process said.
        labels: Class names, by index.
        scores: (classes,), their probabilities.
    """
    return [
        {
            "label": labels[each["class_index"]],
            "score": round(float(scores[each["class_index"]]), 6),
            "nearest": [
                {
                    **example,
                    "similarity": round(example["similarity"], 4),
                    "thumbnail": data_uri("image/jpeg", example["thumbnail"]),
                }
                for example in each["nearest"]
            ],
        }
        for each in results["examples"]
    ]


def overlays(results: Mapping[str, Any], image: np.ndarray) -> dict[str, Any]:
    """Draw the `Overlays` of the answer; this takes a while, call it on a thread.

    Args:
        results: What the model's process said.
        image: As the model saw it, uint8 (channels, height, width).
    """
    if "map" not in results:
        return {"map": None, "energy": []}
    shape = results["map"].shape
    before, after = results.get("energy_before", ()), results.get("energy_after", ())
    drops = [(high - low).reshape(shape) for high, low in zip(before, after, strict=True)]
    # All patches lose energy; which lose more than others is what can be seen.
    return {
        "map": data_uri("image/png", overlay(image, results["map"])),
        "energy": [data_uri("image/png", overlay(image, drop - drop.min())) for drop in drops],
    }


def numbers(values: np.ndarray) -> list[float]:
    """Round floats to the digits that an image can show."""
    return [number(value) for value in values.tolist()]


def number(value: float) -> float:
    """Round a float to six significant digits."""
    return float(f"{value:.6g}")
