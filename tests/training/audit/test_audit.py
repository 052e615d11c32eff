"""Planted faults are found, and nothing else is called a copy."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from ait.interpret.embedding import embed_and_classify
from training.audit import Audit, images
from training.audit.memorisation import memorisation_auc
from training.audit.neighbours import nearest


def found(audited: Audit, kind: str) -> dict[str, str]:
    """Names of the images and of those beside them, of one kind."""
    images = audited.images
    return {
        Path(images.path(each.image)).name: Path(images.path(each.other)).name
        for each in audited.findings
        if each.kind == kind
    }


def test_copies_are_found_by_kind(audited: Audit) -> None:
    # Of a pair across the splits, the training image is the one to remove.
    assert found(audited, "leak") == {"000.png": "leaked.png", "004.png": "brighter.png"}
    assert found(audited, "copy") == {"copy.png": "002.png"}
    conflicts = [each for each in audited.findings if each.kind == "conflict"]
    assert len(conflicts) == 1
    labels = {audited.images.label(conflicts[0].image), audited.images.label(conflicts[0].other)}
    assert labels == {"bee", "cat"}
    exact = {each.kind for each in audited.findings if each.score == 1.0}
    assert exact == {"leak", "conflict", "copy"}


def test_the_wrong_label_comes_first(audited: Audit) -> None:
    doubtful = [each for each in audited.findings if each.kind == "label"]
    names = [Path(audited.images.path(each.image)).name for each in doubtful]
    assert "wrong.png" in names[:2]
    one = doubtful[names.index("wrong.png")]
    assert one.suggestion == "bee"
    assert audited.images.label(one.other) == "bee"


def test_the_report_names_every_finding(audited: Audit, output: Path) -> None:
    with (output / "findings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(audited.findings)
    leak = next(row for row in rows if row["kind"] == "leak" and row["score"] == "1.0000")
    assert (leak["split"], leak["other_split"]) == ("train", "test")
    assert leak["action"] == "remove it from train"
    assert Path(leak["image"]).is_file()
    page, text = (output / "report.html").read_text(), (output / "report.md").read_text()
    for kind in ("leak", "conflict", "label", "copy"):
        assert f"{kind}.png" in page
        assert f"({kind}.png)" in text
        assert Image.open(output / f"{kind}.png").width > 200
    json.dumps(audited.to_json())
    assert audited.to_json()["images"] == {"train": 38, "test": 20}


def test_memorisation_compares_training_images_with_others(audited: Audit) -> None:
    told = audited.memorisation
    assert told.radius > 0
    assert told.auc is not None
    assert 0 <= told.auc <= 1
    assert len(told.train_distances) == 38
    assert (told.test_distances == 0).sum() >= 1  # the leaked one
    assert memorisation_auc(torch.tensor([0.0, 0.1]), torch.tensor([1.0, 2.0])) == 1
    assert memorisation_auc(torch.ones(3), torch.ones(4)) == 0.5
    assert memorisation_auc(torch.tensor([1.0]), torch.tensor([0.0, 1.0, 2.0, 3.0])) == pytest.approx(0.625)


def test_the_same_vector_is_no_way_off_whatever_rounding_makes_of_it() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(200, 192, generator=torch.Generator().manual_seed(0)), dim=1)
    again = vectors * (1 + 1e-7)
    found = nearest(again, vectors, 2)
    assert (found.distances[:, 0] == 0).all()
    exact = torch.cdist(again.double(), vectors.double()).sort(dim=1).values[:, 1]
    torch.testing.assert_close(found.distances[:, 1].double(), exact, rtol=1e-5, atol=0)


def test_nearest_is_exact_and_leaves_out_the_vector_itself() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(50, 8), dim=1)
    assert nearest(vectors, vectors).indices[:, 0].tolist() == list(range(50))
    others = nearest(vectors, vectors, 3, exclude_self=True)
    products = vectors @ vectors.T - 2 * torch.eye(50)
    assert torch.equal(others.indices, products.topk(3).indices)
    torch.testing.assert_close(others.distances, (vectors[:, None] - vectors[others.indices]).norm(dim=-1))


def test_runs_of_the_model_are_shown_on_a_terminal_and_are_no_larger_than_elsewhere(
    checkpoint: Path, dirty: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def embed(model: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(pixels))
        return embed_and_classify(model, pixels)

    monkeypatch.setattr(images, "embed_and_classify", embed)
    monkeypatch.setattr(images, "evaluation_rows", lambda preprocessing: 8)
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    images.see_images(checkpoint, dirty, device=torch.device("cpu"), cache=cache, console=console)
    assert max(sizes) == 8
    assert "running the model: train" in shown.getvalue()
    assert "running the model: test" in shown.getvalue()
    quiet = StringIO()
    images.see_images(checkpoint, dirty, device=torch.device("cpu"), cache=cache, console=Console(file=quiet))
    assert "running the model" not in quiet.getvalue()
