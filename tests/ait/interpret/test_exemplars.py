"""The exemplar file: written and read whole, refused when it is not, and its neighbours are the similar ones."""

from io import BytesIO
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from ait.interpret.exemplars import MOST_BYTES, ExemplarError, Exemplars, load_exemplars, per_class, thumbnail
from ait_lite.checkpoint import EXEMPLARS as FILE


def made(count: int = 12, width: int = 6, classes: int = 3, seed: int = 0) -> Exemplars:
    generator = torch.Generator().manual_seed(seed)
    files = [
        thumbnail(torch.randint(0, 256, (3, 20 + index, 30), dtype=torch.uint8, generator=generator))
        for index in range(count)
    ]
    return Exemplars(
        torch.randn(count, width, generator=generator),
        torch.randn(count, classes, generator=generator),
        torch.arange(count) % classes,
        tuple(f"class/{index}.jpg" for index in range(count)),
        tuple(data for data, _ in files),
        tuple(size for _, size in files),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_file_is_read_as_it_was_written(folder: Path) -> None:
    exemplars = made()
    assert exemplars.save(folder) == folder / FILE
    again = load_exemplars(folder)
    assert again is not None
    assert (again.names, again.thumbnails, again.sizes) == (exemplars.names, exemplars.thumbnails, exemplars.sizes)
    assert torch.equal(again.labels, exemplars.labels)
    torch.testing.assert_close(again.features, exemplars.features, atol=2e-3, rtol=1e-3)
    centred = exemplars.logits - exemplars.logits.mean(1, keepdim=True)
    torch.testing.assert_close(again.logits, centred, atol=2e-3, rtol=1e-3)
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "model.safetensors"]


def test_the_same_exemplars_make_the_same_file(folder: Path) -> None:
    first = made().save(folder).read_bytes()
    assert made().save(folder).read_bytes() == first


def test_a_checkpoint_without_the_file_has_no_exemplars(folder: Path) -> None:
    assert load_exemplars(folder) is None


def test_numbers_beyond_half_precision_are_kept_at_its_end(folder: Path) -> None:
    exemplars = made()
    exemplars.features[0, 0] = 1e9
    exemplars.save(folder)
    again = load_exemplars(folder)
    assert again is not None
    assert float(again.features.max()) == 65504


def test_a_file_made_with_other_weights_is_refused(folder: Path) -> None:
    made().save(folder)
    save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(ExemplarError, match=rf"{FILE} cannot be used: it was made with other weights.*ait exemplars"):
        load_exemplars(folder)


@pytest.mark.parametrize("length", [0, 7, 200, -1])
def test_a_torn_file_is_refused_by_name(folder: Path, length: int) -> None:
    path = made().save(folder)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ExemplarError, match=FILE):
        load_exemplars(folder)


def test_another_file_of_that_name_is_refused(folder: Path) -> None:
    save_file({"features": torch.ones(2, 2)}, folder / FILE)
    with pytest.raises(ExemplarError, match="its format is not"):
        load_exemplars(folder)


@pytest.mark.parametrize(
    "broken",
    [
        {"features": torch.randn(5, 6)},
        {"labels": torch.zeros(5, dtype=torch.int64)},
        {"names": ("one",)},
        {"sizes": ((1, 1),)},
        {"features": torch.full((12, 6), float("nan"))},
    ],
    ids=["features", "labels", "names", "sizes", "numbers"],
)
def test_parts_that_do_not_fit_are_refused(folder: Path, broken: dict[str, Tensor]) -> None:
    Exemplars(**{**vars(made()), **broken}).save(folder)
    with pytest.raises(ExemplarError, match="do not fit each other"):
        load_exemplars(folder)


@given(seed=st.integers(0, 1000), label=st.integers(0, 2), count=st.integers(1, 6))
def test_neighbours_are_of_the_class_and_the_most_similar_first(seed: int, label: int, count: int) -> None:
    exemplars = made(seed=seed)
    found = exemplars.nearest(torch.randn(6), torch.randn(3), label, count)
    assert len(found) == min(count, 4)
    assert len({neighbour.index for neighbour in found}) == len(found)
    assert all(int(exemplars.labels[neighbour.index]) == label for neighbour in found)
    similarities = [neighbour.similarity for neighbour in found]
    assert similarities == sorted(similarities, reverse=True)
    assert all(-1 - 1e-5 <= similarity <= 1 + 1e-5 for similarity in similarities)


@given(seed=st.integers(0, 1000), index=st.integers(0, 11))
def test_an_exemplar_is_its_own_nearest_neighbour(seed: int, index: int) -> None:
    exemplars = made(seed=seed)
    found = exemplars.nearest(exemplars.features[index], exemplars.logits[index] + 7, index % 3, 1)
    assert found[0].index == index
    assert found[0].similarity == pytest.approx(1, abs=1e-5)


def test_a_number_that_is_the_same_for_all_exemplars_says_nothing() -> None:
    exemplars = made()
    exemplars.features[:, 0] = 0.5
    asked, logits = torch.randn(6), torch.randn(3)
    other = asked.clone()
    other[0] = 100
    assert exemplars.nearest(asked, logits, 0, 4) == exemplars.nearest(other, logits, 0, 4)


def test_a_class_without_exemplars_has_no_neighbours() -> None:
    assert made().nearest(torch.randn(6), torch.randn(3), 9, 4) == []


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 200, 100), (3, 32, 32), (4, 90, 300)])
def test_thumbnails_are_small_pictures(channels: int, height: int, width: int) -> None:
    image = torch.full((channels, height, width), 200, dtype=torch.uint8)
    data, size = thumbnail(image)
    with Image.open(BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert image.size == size
        assert max(size) == min(64, max(height, width))
        assert abs(size[0] / size[1] - width / height) < 0.1
        assert abs(image.convert("L").getpixel((0, 0)) - 200) <= 2


@given(wanted=st.integers(1, 100), classes=st.integers(1, 30_000), width=st.integers(1, 4096))
def test_the_files_size_is_bounded(wanted: int, classes: int, width: int) -> None:
    count = per_class(wanted, classes, width)
    assert 0 <= count <= wanted
    assert count * classes * (2 * width + 2 * classes) <= MOST_BYTES
    assert per_class(wanted, 10, 192) == wanted
