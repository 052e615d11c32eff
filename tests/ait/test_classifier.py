"""One line from a checkpoint to answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ait
from ait_lite.checkpoint import CheckpointError, label_names, read_config, resolve
from ait_lite.images.decode import decode
from ait_lite.images.errors import UnsupportedFormat
from ait_lite.images.limits import ImageLimits
from service.model_process.classifier import Classifier
from service.repository.folders import locate

NAME = "ait_tiny_patch4_32.cifar10"


@pytest.fixture(scope="module")
def classifier() -> ait.Classifier:
    return ait.load(NAME, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A turned JPEG, a PNG with transparency, and a grey image."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels[..., :3]).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(pixels).save(folder / "clear.png")
    Image.fromarray(pixels[..., 0]).save(folder / "grey.webp")
    return sorted(folder.iterdir())


def test_answers_are_those_of_the_service(classifier: ait.Classifier, files: list[Path]) -> None:
    ours = classifier.predict(files, top_k=3)
    images = [decode(file.read_bytes(), ImageLimits()) for file in files]
    for labels, served in zip(ours, Classifier(locate(NAME)).classify(images, top_k=3), strict=True):
        assert [name for name, _ in labels] == [name for name, _ in served]
        assert [score for _, score in labels] == pytest.approx([score for _, score in served], abs=2e-6)


def test_one_image_gives_one_answer(classifier: ait.Classifier, files: list[Path]) -> None:
    one = classifier.predict(files[0])
    assert one == classifier.predict(str(files[0])) == classifier.predict(files[0].read_bytes())
    assert len(one) == 5
    assert sum(score for _, score in classifier.predict(files[0], top_k=100)) == pytest.approx(1)
    assert classifier.predict([]) == []
    assert classifier.embed([]).shape == (0, 192)


def test_images_already_opened(classifier: ait.Classifier) -> None:
    image = Image.new("L", (40, 30), 200)
    (answer,) = classifier.predict([image], top_k=1)
    assert answer == classifier.predict(image.convert("RGB"), top_k=1)


def test_a_file_its_bytes_and_its_opened_image_give_the_same_answer(
    classifier: ait.Classifier, tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 255, (40, 56, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(generator.integers(0, 65535, (40, 40), dtype=np.uint16)).save(tmp_path / "deep.png")
    icon = np.zeros((32, 32, 4), np.uint8)
    icon[8:24, 8:24, 3] = 255
    Image.fromarray(icon).save(tmp_path / "icon.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "print.jpg")
    for path in sorted(tmp_path.iterdir()):
        with Image.open(path) as opened:
            assert torch.equal(classifier.pixels([opened]), classifier.pixels([path])), path.name
        assert classifier.predict(path) == classifier.predict(path.read_bytes())


def test_answers_do_not_depend_on_the_batch_size(files: list[Path]) -> None:
    whole, single = (ait.load(NAME, device="cpu", batch_size=size) for size in (64, 1))
    assert whole.probabilities(files).argmax(1).tolist() == single.probabilities(files).argmax(1).tolist()
    torch.testing.assert_close(whole.embed(files), single.embed(files), atol=1e-4, rtol=1e-4)


def test_features_and_explanations(classifier: ait.Classifier, files: list[Path]) -> None:
    assert classifier.embed(files).shape == (3, 192)
    torch.testing.assert_close(classifier.embed(files[0]), classifier.embed(files)[0], atol=1e-4, rtol=1e-4)
    explained = classifier.explain(files[0], "cat")
    assert explained.patch_map is not None
    assert classifier.labels[explained.patch_map.label] == "cat"
    with pytest.raises(ValueError, match="unicorn"):
        classifier.explain(files[0], "unicorn")


def test_what_belongs_to_the_checkpoint(classifier: ait.Classifier) -> None:
    config = read_config(resolve(NAME))
    assert classifier.labels == label_names(config, 10)
    assert classifier.temperature == config["temperature"]
    assert repr(classifier) == "Classifier(AssociativeTransformer, 10 classes, 3 x 32 x 32)"


def test_what_cannot_be_used_is_named(classifier: ait.Classifier, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*ait_tiny_patch4_32\.cifar10"):
        ait.load("nowhere")
    (tmp_path / "text.jpg").write_text("cat")
    with pytest.raises(UnsupportedFormat):
        classifier.predict(tmp_path / "text.jpg")
    with pytest.raises(FileNotFoundError):
        classifier.predict(tmp_path / "missing.jpg")
    with pytest.raises(CheckpointError, match="temperature"):
        ait.Classifier(classifier.model, {"temperature": -1})


def test_names_are_imported_when_they_are_asked_for() -> None:
    script = (
        "import sys, ait; late = ('ait.classifier', 'ait.interpret.explain', 'ait.export', 'matplotlib');"
        "assert not [name for name in late if name in sys.modules];"
        "from ait import explain, embed, load; assert callable(ait.explain) and 'explain' in dir(ait);"
        "assert ait.__version__"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (ait.explain.__doc__ or "").startswith("Explain a model's answer")
    with pytest.raises(AttributeError, match="nothing"):
        _ = ait.nothing


def test_classes_of_a_model_of_several_an_image_have_probabilities_of_their_own(files: list[Path]) -> None:
    config = read_config(resolve(NAME))
    one = ait.Classifier(ait.load(NAME, device="cpu").model, {**config, "temperature": None})
    several = ait.Classifier(one.model, {**config, "temperature": None, "multi_label": True})
    logits = one.probabilities(files).log()
    shares = several.probabilities(files)
    torch.testing.assert_close(shares.logit().softmax(-1).log(), logits, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(shares.sum(-1), torch.ones(len(files)), atol=1e-3)
