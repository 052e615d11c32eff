"""An exported file answers as the model does, at any batch size, or it is not written."""

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn

from ait.export import (
    METADATA_FILE,
    ExportError,
    compare,
    export_onnx,
    export_program,
)
from tests.support.models.exported_models import LABELS, MODELS, SMALL, make, other_images


@pytest.mark.parametrize("case", list(MODELS))
@torch.no_grad()
def test_a_program_answers_as_the_model_at_any_batch_size(case: str, tmp_path: Path) -> None:
    model = make(case)
    result = export_program(model, tmp_path / "model.pt2")
    assert result.agreement.same_top_class == 1
    assert result.size == (tmp_path / "model.pt2").stat().st_size
    reloaded = torch.export.load(tmp_path / "model.pt2").module()
    for count in (1, 3, 33):
        images = other_images(model, count)
        torch.testing.assert_close(reloaded(images), model(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["flat head", "distance kernel, two steps", "convolutional network"])
@torch.no_grad()
def test_an_onnx_file_answers_as_the_model_at_any_batch_size(case: str, tmp_path: Path) -> None:
    import onnxruntime

    model = make(case)
    export_onnx(model, tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type, pixels.shape[0]) == ("pixels", "tensor(float)", "batch")
    assert (logits.name, logits.shape) == ("logits", ["batch", 3])
    for count in (1, 3, 33):
        images = other_images(model, count)
        (answer,) = session.run(None, {"pixels": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), model(images), atol=1e-4, rtol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["label_names"]) == LABELS
    assert json.loads(about["mean"]) == pytest.approx(resolve_input_data_config(model)["mean"])


@torch.no_grad()
def test_a_program_carries_its_metadata_and_can_give_probabilities(tmp_path: Path) -> None:
    model = make()
    export_program(model, tmp_path / "model.pt2", probabilities=True)
    extra = {METADATA_FILE: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()
    about = json.loads(extra[METADATA_FILE])
    assert about["label_names"] == LABELS
    assert about["input_size"] == [3, 16, 16]
    assert about["std"] == pytest.approx(resolve_input_data_config(model)["std"])
    assert about["output"] == "probabilities"
    images = other_images(model, 3)
    torch.testing.assert_close(program(images), model(images).softmax(dim=1))


@torch.no_grad()
def test_a_checkpoints_temperature_divides_probabilities_and_travels(tmp_path: Path) -> None:
    model = make()
    images = other_images(model, 3)
    export_program(model, tmp_path / "logits.pt2", temperature=1.75)
    extra = {METADATA_FILE: ""}
    torch.testing.assert_close(
        torch.export.load(tmp_path / "logits.pt2", extra_files=extra).module()(images), model(images)
    )
    assert json.loads(extra[METADATA_FILE])["temperature"] == 1.75
    export_program(model, tmp_path / "shares.pt2", probabilities=True, temperature=1.75)
    shares = torch.export.load(tmp_path / "shares.pt2").module()(images)
    torch.testing.assert_close(shares, (model(images) / 1.75).softmax(dim=1))


class DiffersWhenExported(nn.Module):
    """A model whose exported form does not compute what it computes itself."""

    def forward(self, pixels: Tensor) -> Tensor:
        logits = pixels.mean(dim=(2, 3))
        return logits + 0.5 if torch.compiler.is_exporting() else logits


class NotFinite(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean(dim=(2, 3)) * float("nan")


class TwoImagesOnly(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(2, -1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DiffersWhenExported(), r"refused and deleted.*largest difference 5\.0e-01.*at most 1\.0e-04"),
        (NotFinite(), "refused and deleted.*nan"),
        (TwoImagesOnly(), "cannot follow the model for every batch size"),
    ],
    ids=["another answer", "not finite", "fixed batch"],
)
def test_what_does_not_answer_as_the_model_is_not_written(model: nn.Module, message: str, tmp_path: Path) -> None:
    target = tmp_path / "model.pt2"
    target.write_text("what was there before")
    with pytest.raises(ExportError, match=message):
        export_program(model.eval(), target, torch.rand(3, 3, 8, 8))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert target.read_text() == "what was there before"


def test_the_comparison_sees_a_single_wrong_answer() -> None:
    images = torch.rand(7, 3, 4, 4)

    def eager(batch: Tensor) -> Tensor:
        return batch.mean(dim=(2, 3))

    def one_wrong(batch: Tensor) -> Tensor:
        answer = eager(batch)
        answer[(batch == images[6]).flatten(1).all(1)] += torch.tensor([9.0, 0.0, 0.0])
        return answer

    assert compare(eager, eager, images).largest_difference == 0
    wrong = compare(eager, one_wrong, images)
    assert wrong.largest_difference == pytest.approx(9)
    assert not wrong.within(1e-4)


def test_a_model_that_writes_in_evaluation_is_refused(tmp_path: Path) -> None:
    model = timm.create_model("ait_tiny_patch4_32", **SMALL, memory_args={"adaptive": True})
    with pytest.raises(ExportError, match="adaptive"):
        export_program(model, tmp_path / "model.pt2")


def test_exporting_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = make().train().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_program(model, tmp_path / "model.pt2")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ait.export.onnx.find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(ExportError, match=r"needs onnxruntime: pip install 'associative-transformer\[export\]'"):
        export_onnx(make(), tmp_path / "model.onnx")
