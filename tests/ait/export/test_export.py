"""An exported file answers as the model does, at any batch size, or it is not written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from timm.data import create_transform
from timm.data.model_config import resolve_input_data_config
from timm.models import save_for_hf
from torch import Tensor, nn
from typer.testing import CliRunner

from ait.export import (
    METADATA_FILE,
    ExportError,
    compare,
    export_hub,
    export_onnx,
    export_program,
    export_serving,
    graph,
)
from ait.export.sample_images import made_images, read_images
from ait.preprocessing import data_config_of
from ait.pretrained import load_model
from ait_cli.main import app
from ait_lite.checkpoint import fingerprint, named_labels
from ait_lite.corrections import Corrections, load_corrections
from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import read_prepared
from tests.support.models.small_checkpoints import save_small_checkpoint

LABELS = ["ant", "bee", "cat"]
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 1, "num_heads": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "flat head": ("ait_tiny_patch4_32", SMALL),
    "average pooling, published memory": ("ait_small_patch16_224", {**SMALL, "memory": "published"}),
    "distance kernel, two steps": ("ait_tiny_patch4_32", {**SMALL, "memory_args": {"retrieval": "d1", "steps": 2}}),
    "squared distance kernel": ("ait_tiny_patch4_32", {**SMALL, "memory_args": {"retrieval": "d2"}}),
    "attention pooling, any size": ("ait_base_patch4_32", {**SMALL, "global_pool": "map", "dynamic_img_size": True}),
    "timm ViT": ("vit_tiny_patch16_224", SMALL),
    "convolutional network": (
        "test_resnet",
        {"pretrained_cfg_overlay": {"input_size": (3, 32, 32), "test_input_size": None}},
    ),
}
run = CliRunner().invoke


def make(case: str = "flat head") -> nn.Module:
    """An untrained model of three classes; statistics of batch normalisation are drawn, so that they matter."""
    name, args = MODELS[case]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=len(LABELS), **args)
    model.pretrained_cfg["label_names"] = LABELS
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def other_images(model: nn.Module, count: int) -> Tensor:
    """Inputs that the export has not seen."""
    size = resolve_input_data_config(model)["input_size"]
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures in two class folders, one of them turned by its EXIF tag, and a text file."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for index in range(5):
        folder = root / LABELS[index % 2]
        folder.mkdir(exist_ok=True)
        picture = Image.fromarray(generator.integers(0, 255, (20, 30, 3), dtype=np.uint8))
        exif = picture.getexif()
        exif[0x0112] = 6 if index == 4 else 1
        picture.save(folder / f"{index}.png", exif=exif)
    (root / "notes.txt").write_text("no picture")
    return root


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


def test_pictures_are_prepared_as_the_configuration_says(photos: Path) -> None:
    model = make()
    files = sorted(photos.rglob("*.png"))
    transform = create_transform(**resolve_input_data_config(model), is_training=False)
    (photos / ".hidden").mkdir()
    (photos / ".hidden" / "0.png").write_bytes(files[0].read_bytes())
    pixels = read_images(model, [photos])
    assert pixels.shape == (5, 3, 16, 16)
    torch.testing.assert_close(pixels[1], transform(Image.open(files[1]).convert("RGB")))
    turned = Image.open(photos / "ant" / "4.png").rotate(-90, expand=True)
    torch.testing.assert_close(read_images(model, [photos / "ant" / "4.png"])[0], transform(turned))
    assert len(read_images(model, [photos], limit=2)) == 2
    with pytest.raises(ValueError, match=r"notes\.txt: This is not a JPEG, PNG, WebP, "):
        read_images(model, [photos / "notes.txt"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_images(model, [photos / "nowhere"])


def test_made_pictures_differ_and_have_the_range_of_real_ones() -> None:
    model = make()
    pixels = made_images(model, 8)
    assert torch.equal(pixels, made_images(model, 8))
    config = resolve_input_data_config(model)
    mean, std = (torch.tensor(config[name]).view(-1, 1, 1) for name in ("mean", "std"))
    pictures = pixels * std + mean
    assert pictures.min() >= -1e-6
    assert pictures.max() <= 1 + 1e-6
    assert torch.pdist(pictures.flatten(1)).min() > 0.1


@torch.no_grad()
def test_a_hub_folder_is_loaded_by_timm_from_disk_and_as_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("average pooling, published memory")
    # A download cache as the hub's client lays it out, in place of the hub.
    repository = tmp_path / "cache" / "models--someone--animals"
    (repository / "refs").mkdir(parents=True)
    revision = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs" / "main").write_text(revision)
    folder = repository / "snapshots" / revision
    effect = {"accuracy_change": -0.01, "accuracy_interval": 0.004, "loss_change": 0.02, "loss_interval": 0.01}
    metrics = {"validation_accuracy": 0.875, "memory": {"retrieval_off": effect}}
    export_hub(model, folder, license="mit", metrics=metrics)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    images = other_images(model, 3)
    for source in (f"local-dir:{folder}", "hf-hub:someone/animals"):
        loaded = timm.create_model(source, pretrained=True, cache_dir=str(tmp_path / "cache")).eval()
        assert torch.equal(loaded(images), model(images))
        assert list(named_labels(loaded.pretrained_cfg)) == LABELS
        theirs, ours = resolve_input_data_config(loaded), resolve_input_data_config(model)
        assert {**theirs, "mean": None, "std": None} == {**ours, "mean": None, "std": None}
        assert [*theirs["mean"], *theirs["std"]] == pytest.approx([*ours["mean"], *ours["std"]])
    assert json.loads((folder / "config.json").read_text())["metrics"] == metrics
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit"
    assert card.data.to_dict()["library_name"] == "timm"
    assert card.data.pipeline_tag == "image-classification"
    assert "image-classification" in card.data.tags
    assert "ant, bee, cat" in card.text
    assert "| validation_accuracy | 0.8750 |" in card.text
    assert "| nothing is retrieved, and nothing merged | -1.00 ± 0.40 | +0.0200 ± 0.0100 |" in card.text


def test_a_card_without_a_licence_leaves_the_field_out(tmp_path: Path) -> None:
    export_hub(make("convolutional network"), tmp_path / "hub")
    card = ModelCard.load(tmp_path / "hub" / "README.md")
    assert card.data.license is None
    assert "associative-transformer" not in card.data.tags
    assert "import ait" not in card.text


@pytest.mark.parametrize(
    ("mode", "share", "words"),
    [
        ("center", 0.9, "bicubic, centre crop 0.9"),
        ("squash", 1.0, "bicubic, squashed to the input's shape"),
        ("border", 0.9, "bicubic, padded to the input's shape, centre crop 0.9"),
    ],
)
def test_a_card_says_how_images_are_brought_to_size(mode: str, share: float, words: str, tmp_path: Path) -> None:
    model = make("convolutional network")
    model.pretrained_cfg.update(crop_mode=mode, crop_pct=share, interpolation="bicubic")
    export_hub(model, tmp_path / "hub")
    assert f"| resize | {words} |" in ModelCard.load(tmp_path / "hub" / "README.md").text


def test_a_hub_folder_does_not_replace_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ExportError, match="not an empty folder"):
        export_hub(make(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    config = {"label_names": LABELS, "metrics": {"validation_accuracy": 0.5}, "temperature": 1.25}
    save_for_hf(make(), str(folder), model_config=config, safe_serialization=True)
    return folder


def test_the_command_exports_a_checkpoint(checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    result = run(app, ["export", str(checkpoint), str(tmp_path / "new" / "model.pt2"), "--images", str(photos)])
    assert result.exit_code == 0, result.output
    assert "5 images" in result.stdout
    assert "largest difference" in result.stdout
    result = run(app, ["export", str(checkpoint), str(tmp_path / "hub"), "--format", "hub", "--license", "mit"])
    assert result.exit_code == 0, result.output
    assert "generated images" in result.stdout
    assert "| validation_accuracy | 0.5000 |" in (tmp_path / "hub" / "README.md").read_text()
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["temperature"] == 1.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CHECKPOINT", "model.bin"], "model.bin: the ending names no format"),
        (["CHECKPOINT", "model.pt2", "--format", "onnx"], "a file of the format onnx ends in .onnx"),
        (["CHECKPOINT", "model.pt2", "--license", "mit"], "--license"),
        (["CHECKPOINT", "hub", "--format", "hub", "--probabilities"], "--probabilities"),
        (["no_such_model", "model.pt2"], "no_such_model"),
        (["CHECKPOINT", "model.pt2", "--images", "nowhere"], "nowhere: no such file or folder"),
        (["CHECKPOINT", "model.onnx", "--tolerance", "0"], "refused and deleted"),
    ],
)
def test_the_command_refuses_with_the_reason(
    arguments: list[str], message: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, ["export", *(str(checkpoint) if part == "CHECKPOINT" else part for part in arguments)])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_server_folder_is_compared_and_calibrated_on_the_images_that_are_given(
    checkpoint: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def quantise(source: Path, path: Path, *arguments: Any, calibration: np.ndarray) -> None:
        seen.append(calibration)
        path.write_bytes(source.read_bytes())

    monkeypatch.setattr(graph, "quantise", quantise)
    result = run(
        app, ["export", str(checkpoint), str(tmp_path / "new"), "--format", "serving", "--images", str(photos)]
    )
    assert result.exit_code == 0, result.output
    own = {each.numpy().tobytes() for each in read_images(make(), [photos])}
    assert len(own) == 5
    compared = Normalising(data_config_of(make()))(read_prepared(tmp_path / "new").reference().images)
    assert {each.tobytes() for each in compared[:5]} == own
    assert len(compared) == 64  # made images fill up
    (calibration,) = seen
    assert {each.tobytes() for each in calibration[:5]} == own


def test_a_server_folder_of_images_that_are_none_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    result = run(
        app, ["export", str(checkpoint), str(tmp_path / "new"), "--format", "serving", "--images", str(tmp_path / "x")]
    )
    assert result.exit_code == 1
    assert "no such file or folder of images" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def prepared(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "model"
    export_serving(load_model(checkpoint), checkpoint, folder, int8=False)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["export", "PREPARED", "model.onnx"],
        ["export", "PREPARED", "again", "--format", "serving"],
        ["evaluate", "PREPARED", "PHOTOS"],
        ["evaluate", "PREPARED", "PHOTOS", "--runtime", "auto"],
        ["train", "quick", "data.root=PHOTOS", "model.checkpoint=PREPARED", "output=out"],
    ],
)
def test_what_needs_weights_says_what_a_prepared_folder_is(
    words: list[str], prepared: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, [each.replace("PREPARED", str(prepared)).replace("PHOTOS", str(photos)) for each in words])
    assert result.exit_code == 1, result.output
    told = " ".join(result.stderr.split())
    assert f"{prepared} is a prepared model" in told
    assert "name the checkpoint that it was exported from" in told


def test_a_torn_checkpoint_is_named(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        whole = (checkpoint / name).read_bytes()
        (tmp_path / name).write_bytes(whole if name == "config.json" else whole[: len(whole) // 2])
    result = run(app, ["export", str(tmp_path), str(tmp_path / "model.pt2")])
    assert result.exit_code == 1
    assert f"{tmp_path}: cannot be loaded" in result.stderr
    assert not (tmp_path / "model.pt2").exists()


def test_a_prepared_model_has_the_corrections_of_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = save_small_checkpoint(tmp_path / "checkpoint")
    key = np.eye(1, 16, dtype=np.float32)
    made = Corrections(
        ("a",),
        ("photo.jpg",),
        key,
        np.array([2]),
        np.ones(1, np.float32),
        np.zeros(16, np.float32),
        0.9,
        fingerprint(checkpoint),
    )
    made.save(checkpoint)
    model = timm.create_model(f"local-dir:{checkpoint}", pretrained=True).eval()
    export_serving(model, checkpoint, tmp_path / "prepared", int8=False)
    found = load_corrections(tmp_path / "prepared")
    assert found is not None
    assert (found.ids, found.labels.tolist(), found.fingerprint) == (("a",), [2], made.fingerprint)
