"""A batch is a function of positions, epoch and seed, whatever decodes it; workers end with the iteration."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from training.data import (
    BatchLoader,
    LabelledImages,
    Preprocessing,
    UndecodedImages,
    dead_workers_named,
    decode,
    to_device,
)
from training.data.loading import repeat_positions
from training.data.sources.folder import scan_folder
from training.errors import DataError
from training.seeds import image_seed

PREPROCESSING = Preprocessing((3, 8, 8), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")
# The last batch is smaller; images 3 and 5 are visited more than once.
BATCHES = [torch.tensor(batch) for batch in ([3, 0, 32, 3], [5, 7, 3, 9], [5, 1, 2, 4], [11, 12])]


def add_noise(image: Tensor, seed: int) -> Tensor:
    noise = torch.randint(0, 256, image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return image ^ noise


def fail_on_image(image: Tensor, seed: int) -> Tensor:
    raise ZeroDivisionError("in the transform")


def kill_the_worker(image: Tensor, seed: int) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return image


@pytest.fixture(scope="module")
def samples(data_root: Path) -> LabelledImages:
    return scan_folder(data_root / "train")


@pytest.fixture(scope="module")
def array(samples: LabelledImages, cache: Path) -> Tensor:
    return decode(samples, PREPROCESSING, cache=cache)[1]


@pytest.fixture(scope="module")
def undecoded(samples: LabelledImages) -> UndecodedImages:
    return UndecodedImages(samples, PREPROCESSING)


def workers_left() -> Sequence[object]:
    return multiprocessing.active_children()


def test_batches_hold_the_images_asked_for(array: Tensor, undecoded: UndecodedImages) -> None:
    for loader in (BatchLoader(array), BatchLoader(undecoded), BatchLoader(undecoded, workers=2)):
        assert len(loader) == 33
        found = list(loader.batches(BATCHES))
        assert [len(batch) for batch in found] == [4, 4, 4, 2]
        for batch, chosen in zip(found, BATCHES, strict=True):
            assert torch.equal(batch, array[chosen])
        assert torch.equal(loader.take(BATCHES[1]), array[BATCHES[1]])
        assert list(loader.batches([])) == list(loader.batches(BATCHES, start=4)) == []
    assert not workers_left()


def test_transformed_batches_do_not_depend_on_who_makes_them(array: Tensor, undecoded: UndecodedImages) -> None:
    expected = list(BatchLoader(array).batches(BATCHES, epoch=2, seed=7, transform=add_noise))
    for images, workers in ((undecoded, 0), (array, 1), (array, 2), (undecoded, 2)):
        found = list(BatchLoader(images, workers).batches(BATCHES, epoch=2, seed=7, transform=add_noise))
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    # Every visit has a seed of its own, of image 3 too.
    first = array[3] ^ expected[0][0], array[3] ^ expected[0][3], array[3] ^ expected[1][2]
    for repeat, noise in enumerate(first):
        assert torch.equal(noise, add_noise(torch.zeros_like(array[3]), image_seed(7, 2, 3, repeat)))
    for epoch, seed in ((3, 7), (2, 8)):
        other = next(BatchLoader(array).batches(BATCHES, epoch=epoch, seed=seed, transform=add_noise))
        assert not torch.equal(other, expected[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_iteration_may_start_in_the_middle(undecoded: UndecodedImages, workers: int) -> None:
    loader = BatchLoader(undecoded, workers)
    whole = list(loader.batches(BATCHES, epoch=1, seed=1, transform=add_noise))
    rest = list(loader.batches(BATCHES, epoch=1, seed=1, transform=add_noise, start=2))
    assert all(torch.equal(one, other) for one, other in zip(rest, whole[2:], strict=True))


def test_processes_share_the_batches_of_one(array: Tensor) -> None:
    whole = list(BatchLoader(array).batches(BATCHES, transform=add_noise))
    for rank in range(3):

        def rows(count: int, rank: int = rank) -> Tensor:
            return torch.arange(count)[rank::3]

        mine = list(BatchLoader(array).batches(BATCHES, transform=add_noise, rows=rows))
        assert all(torch.equal(one, other[rank::3]) for one, other in zip(mine, whole, strict=True))
        # The last process gets nothing of the last batch, and is told so by an empty one.
        assert mine[-1].shape == (int(rank < 2), 3, 8, 8)


def test_global_random_state_is_left_alone(undecoded: UndecodedImages) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(BatchLoader(undecoded, workers=1).batches(BATCHES[:1], transform=add_noise))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_end_when_the_iteration_is_left_early(undecoded: UndecodedImages) -> None:
    def leave() -> None:
        with closing(BatchLoader(undecoded, workers=2).batches(BATCHES)) as batches:
            for _ in batches:
                assert len(workers_left()) == 2
                raise KeyError("left")

    with pytest.raises(KeyError, match="left") as held:
        leave()
    # The traceback is alive, and with it the frames of the iteration.
    assert held.tb is not None
    assert not workers_left()


def test_workers_end_when_a_transform_fails(array: Tensor) -> None:
    with pytest.raises(ZeroDivisionError, match="in the transform") as held:
        list(BatchLoader(array, workers=2).batches(BATCHES, transform=fail_on_image))
    assert held.tb is not None
    assert not workers_left()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_breaks_later_is_named(tmp_path: Path, workers: int) -> None:
    (tmp_path / "ant").mkdir()
    for index in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / "ant" / f"{index}.png")
    samples = scan_folder(tmp_path)
    (tmp_path / "ant" / "2.png").write_bytes(b"overwritten")
    loader = BatchLoader(UndecodedImages(samples, PREPROCESSING), workers)
    with pytest.raises(DataError, match=r"ant/2\.png could be decoded before and cannot now: This is not a"):
        list(loader.batches([torch.tensor([0, 1]), torch.tensor([2, 3])]))
    assert not workers_left()


def test_workers_leave_signals_to_the_training_process(undecoded: UndecodedImages) -> None:
    with closing(BatchLoader(undecoded, workers=2).batches(BATCHES * 5)) as batches:
        next(batches)
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGINT)
            os.kill(worker.pid, signal.SIGTERM)
        assert len(list(batches)) == 19
    assert not workers_left()


def test_single_image_transforms_need_images_off_the_accelerator(array: Tensor) -> None:
    with pytest.raises(DataError, match=r"use data\.caching=ram or none"):
        next(BatchLoader(array.to("meta")).batches(BATCHES, transform=add_noise))


def test_images_too_large_for_the_accelerator_are_refused(array: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(to_device(array, torch.device("cpu")), array)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (array.nbytes, 2 * array.nbytes))
    with pytest.raises(DataError, match=r"33 decoded images take .*use data\.caching=ram"):
        to_device(array, torch.device("cuda"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=6))
def test_repeats_are_counted_over_the_epoch(batches: list[list[int]]) -> None:
    seen: dict[int, int] = {}
    expected = []
    for batch in batches:
        expected.append([])
        for index in batch:
            expected[-1].append(seen.get(index, 0))
            seen[index] = seen.get(index, 0) + 1
    found = repeat_positions([torch.tensor(batch, dtype=torch.int64) for batch in batches])
    assert [repeat.tolist() for repeat in found] == expected


def test_image_seeds_differ_in_every_part() -> None:
    seeds = {image_seed(a, b, c, d) for a in range(3) for b in range(3) for c in range(3) for d in range(3)}
    assert len(seeds) == 81
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_killed_worker_is_named_with_the_remedy(array: Tensor) -> None:
    batches = BatchLoader(array, workers=2).batches(BATCHES, transform=kill_the_worker)
    with pytest.raises(DataError, match=r"was killed.*data\.workers") as error, dead_workers_named():
        list(batches)
    assert "--resume auto" in str(error.value)
    with pytest.raises(RuntimeError, match="something else"), dead_workers_named():
        raise RuntimeError("something else")
