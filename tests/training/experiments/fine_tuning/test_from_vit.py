"""The comparison of a ViT with and without a memory trains both alike, and tells what the memory does."""

import torch

from training.experiments.familiarity.images import shape_images
from training.experiments.fine_tuning.from_vit import ARMS, Images, Setting, outcome, run_seed

SHAPE = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


def test_both_start_from_one_vit_and_the_memory_wakes() -> None:
    generator = torch.Generator().manual_seed(0)
    images = Images(*shape_images(20, generator), *shape_images(10, generator))
    with torch.random.fork_rng(devices=[]):
        found = run_seed(images, Setting(SHAPE, 1, 10, 1), seed=0)
    assert found.keys() == ARMS.keys()
    assert all(arm["difference at the start"] <= 1e-5 for arm in found.values())
    assert "scale" not in found["vit"]
    assert len(found["memory in the last block"]["scale"]) == 1
    assert len(found["memory in all blocks"]["scale"]) == 2
    assert min(found["memory in all blocks"]["scale"]) > 0
    told = outcome([found, found], classes=5).figures
    assert told["vit"]["less the ViT's"] == [0.0, 0.0]
    assert told["seeds"] == [0, 1]
