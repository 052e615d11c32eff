"""Processes share out the images to score."""

import torch

from training.evaluation.scoring import EVALUATION_BATCH, shard


def test_shards_cover_every_image_once_in_whole_batches() -> None:
    count = 3 * EVALUATION_BATCH + 7
    for processes in (1, 2, 3, 5, 9):
        shards = [shard(count, index, processes) for index in range(processes)]
        assert torch.equal(torch.cat(shards).sort().values, torch.arange(count))
        for positions in shards:
            for batch in positions.split(EVALUATION_BATCH) if len(positions) else ():
                assert batch[0] % EVALUATION_BATCH == 0
                assert torch.equal(batch, torch.arange(len(batch)) + batch[0])
