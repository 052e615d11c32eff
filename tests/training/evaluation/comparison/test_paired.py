"""Two models on the same images: who is right where the other is not, and whether that could be chance."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models import save_for_hf
from typer.testing import CliRunner

from ait_cli.main import app
from tests.support.images.training_images import CLASSES, write_images
from training.errors import DataError
from training.evaluation.comparison.paired import ANOTHER, Comparison, compare, compare_probabilities

ARGS: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
counts = st.integers(0, 30)


def answers(both: int, only_first: int, only_second: int, neither: int) -> Comparison:
    """Two models with given counts of images on which both, one or neither are right, in two classes."""
    first = [1] * both + [1] * only_first + [0] * only_second + [0] * neither
    second = [1] * both + [0] * only_first + [1] * only_second + [0] * neither
    labels = torch.arange(len(first)) % 2
    probabilities = [
        torch.tensor(
            [
                [0.8, 0.2] if (label == 0) == bool(right) else [0.2, 0.8]
                for label, right in zip(labels, each, strict=True)
            ]
        )
        for each in (first, second)
    ]
    return compare_probabilities(*probabilities, labels, ["a", "b"], [f"{i}.png" for i in range(len(first))])


@given(both=counts, only_first=counts, only_second=counts, neither=counts)
def test_the_difference_is_that_of_the_images_they_differ_on(
    both: int, only_first: int, only_second: int, neither: int
) -> None:
    total = both + only_first + only_second + neither
    if not total:
        return
    result = answers(both, only_first, only_second, neither)
    overall = result.overall
    assert (overall.only_first, overall.only_second) == (only_first, only_second)
    assert overall.difference == pytest.approx((only_second - only_first) / total)
    low, high = overall.interval
    assert -1 <= low <= high <= 1
    mirrored = answers(both, only_second, only_first, neither).overall
    assert mirrored.interval == pytest.approx((-high, -low))
    assert mirrored.p_value == overall.p_value <= 1
    assert len(result.differing) == only_first + only_second
    assert sum(each.images for each in result.per_class.values()) == total


def test_the_sign_test_is_exact() -> None:
    # 1 of 10 heads or fewer, and as many tails: 2 * (1 + 10) / 1024.
    assert answers(50, 1, 9, 3).overall.p_value == pytest.approx(22 / 1024)
    assert answers(50, 0, 0, 3).overall.p_value == 1


def test_the_interval_holds_what_it_should() -> None:
    generator = torch.Generator().manual_seed(1)
    held = 0
    for _ in range(400):
        drawn = torch.multinomial(torch.tensor([0.6, 0.08, 0.14, 0.18]), 200, replacement=True, generator=generator)
        overall = answers(*torch.bincount(drawn, minlength=4).tolist()).overall
        held += overall.interval[0] <= 0.06 <= overall.interval[1]
    assert abs(held / 400 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 400)


def save(folder: Path, classes: tuple[str, ...], seed: int) -> Path:
    """A checkpoint of an untrained model of some classes."""
    torch.manual_seed(seed)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(classes), **ARGS)
    save_for_hf(model, str(folder), model_config={"label_names": list(classes)}, safe_serialization=True)
    return folder


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 6, seed=0)
    first = save(tmp_path / "first", CLASSES, seed=1)
    model = timm.create_model(f"local-dir:{first}", pretrained=True)
    # The same model with its classes in another order, and one more that always loses.
    other = timm.create_model("vit_tiny_patch16_224", num_classes=4, **ARGS)
    state = model.state_dict()
    order = [2, 0, 1]
    state["head.weight"] = torch.cat([torch.zeros(1, 16), state["head.weight"][order]])
    state["head.bias"] = torch.cat([torch.full((1,), -1e4), state["head.bias"][order]])
    other.load_state_dict(state)
    names = ["zebra", *(CLASSES[index] for index in order)]
    save_for_hf(other, str(tmp_path / "second"), model_config={"label_names": names}, safe_serialization=True)
    result = compare(first, tmp_path / "second", tmp_path / "images", cache=tmp_path / "cache")
    assert result.classes == (*CLASSES, ANOTHER)
    assert torch.equal(*result.answers)
    assert result.nll[0] == pytest.approx(result.nll[1], rel=1e-5)


def test_the_loss_of_a_mistake_that_a_model_is_sure_of_is_its_logits(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 2, seed=0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(CLASSES), **ARGS)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([300.0, 0.0, 0.0]))
    sure = tmp_path / "sure"
    save_for_hf(model, str(sure), model_config={"label_names": list(CLASSES)}, safe_serialization=True)
    result = compare(sure, sure, tmp_path / "images", cache=tmp_path / "cache")
    assert result.nll == pytest.approx((200.0, 200.0))  # of three classes, two are never answered


def test_the_model_that_lacks_a_class_is_named(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 2, seed=0)
    first, second = save(tmp_path / "first", CLASSES, seed=1), save(tmp_path / "second", CLASSES[:2], seed=1)
    missing = f"holds classes {re.escape(str(second))} does not know: {CLASSES[2]}"
    with pytest.raises(DataError, match=missing):
        compare(first, second, tmp_path / "images", cache=tmp_path / "cache")


def test_the_command_prints_both_and_writes_what_they_differ_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "images", 6, seed=0)
    first, second = (str(save(tmp_path / name, CLASSES, seed)) for seed, name in enumerate(("first", "second")))
    listed = tmp_path / "differing.csv"
    done = CliRunner().invoke(app, ["compare", first, second, str(tmp_path / "images"), "-o", str(listed)])
    assert done.exit_code == 0, done.output
    assert "18 images" in done.output
    assert any("likelihood" in line and "difference" in line for line in done.output.splitlines()), "one line"
    assert all(name in done.output for name in ("all", *CLASSES))
    rows = list(csv.DictReader(listed.open()))
    assert rows
    assert all((row["first"] == row["label"]) != (row["second"] == row["label"]) for row in rows)
    nowhere = tmp_path / "nowhere" / "differing.csv"
    refused = CliRunner().invoke(app, ["compare", first, second, str(tmp_path / "images"), "-o", str(nowhere)])
    assert refused.exit_code == 1
    assert f"{nowhere}: cannot be written" in refused.stderr
    alone = CliRunner().invoke(app, ["compare", first, second])
    assert alone.exit_code == 1
    assert "name the images to compare on as DATA" in alone.output
