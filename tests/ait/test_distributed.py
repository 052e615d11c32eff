"""Data-parallel processes take the same steps as one process with the whole batch."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ait import AssociativeTransformer
from ait.attention import ALL_WIN
from ait.baselines.ablations import AblatedAiT
from ait.memory.associative_head import AssociativeHead
from tests.support.processes.forked import forking_context

STEPS = 3
BATCH = 8
LIMIT_S = 240
# A memory, its settings, and how many images each process has, of 16 tokens each.
SCENARIOS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "orthogonal": ("orthogonal", {"learn_beta": True}, (4, 4)),
    "published": ("published", {}, (4, 4)),
    "unequal-shards": ("orthogonal", {"retrieval": "d2"}, (5, 3)),
    "published-unequal-shards": ("published", {}, (2, 6)),
    "more-winners-than-a-shard-has-tokens": ("orthogonal", {"bottleneck": 50}, (6, 2)),
    "a-process-without-images": ("orthogonal", {}, (8, 0)),
    "every-token-wins": ("published", {"bottleneck": 500}, (5, 3)),
    "no-bottleneck": ("published", {"bottleneck": ALL_WIN}, (5, 3)),
    "no-bottleneck-and-a-process-without-images": ("published", {"bottleneck": ALL_WIN}, (8, 0)),
    # All tokens win: among scores in half precision many are equal, and which of those win is for chance to say.
    "mixed-precision": ("orthogonal", {"bottleneck": 500}, (5, 3)),
}
MIXED = "mixed-precision"
Step = dict[str, Any]


class Learner(nn.Module):
    """The model with its training loss, as one module that a data-parallel wrapper can hold."""

    def __init__(self, memory: str, memory_args: dict[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = AssociativeTransformer(
            img_size=16,
            patch_size=4,
            embed_dim=16,
            depth=2,
            num_heads=2,
            num_classes=5,
            memory=memory,
            memory_args={"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12, **memory_args},
        )

    def forward(self, images: Tensor, labels: Tensor, processes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss whose mean over processes is that of the whole batch, logits and balance loss."""
        output = self.model.forward_training(images)
        task = F.cross_entropy(output.logits, labels, reduction="sum") * processes / BATCH
        return task + 0.1 * output.balance_loss, output.logits, output.balance_loss


def train(name: str, rank: int, processes: int) -> list[Step]:
    """What every step of one process saw and left."""
    memory, memory_args, shards = SCENARIOS[name]
    learner = Learner(memory, memory_args).train()
    forward = DistributedDataParallel(learner) if processes > 1 else learner
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    steps = []
    for _ in range(STEPS):
        images = torch.randn(BATCH, 3, 16, 16, generator=generator)
        labels = torch.randint(5, (BATCH,), generator=generator)
        if processes > 1:
            images, labels = images.split(shards)[rank], labels.split(shards)[rank]
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == MIXED):
            loss, logits, balance = forward(images, labels, processes)
        loss.backward()
        optimiser.step()
        steps.append(
            {
                "logits": logits.detach(),
                "balance": balance.detach(),
                "gradients": {key: p.grad.clone() for key, p in learner.named_parameters() if p.grad is not None},
                "priors": torch.stack([block.workspace.memory.priors for block in learner.model.blocks]),
            }
        )
    return steps


def head_step(shard: slice) -> dict[str, Tensor]:
    """What an associative head says of one process's share of a batch, and holds after its examples are written."""
    torch.manual_seed(3)
    head = AssociativeHead(6, 3, num_priors=2)
    features, labels = torch.randn(BATCH, 6), torch.arange(BATCH) % 3
    logits = head.forward_with_batch(features[shard], labels[shard], rate=0.5)
    logits.square().sum().backward()
    gradient = head.weight.grad
    assert gradient is not None
    head.add_classes(1)
    head.teach(0, features[shard])
    head.teach(3, features[shard])
    return {"logits": logits.detach(), "gradient": gradient, **head.state_dict()}


def priors_after_reset(rank: int) -> Tensor:
    """The priors of a process that has drawn them anew, each from a generator of its own."""
    torch.manual_seed(rank)
    sizes: dict[str, Any] = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    model = AblatedAiT("reset", 1, num_classes=5, memory_args={"prior_dim": 8, "num_heads": 2}, **sizes).eval()
    model.updates.fill_(1)
    model.forward_training(torch.zeros(2, 3, 16, 16))
    return model.blocks[0].workspace.memory.priors


def process(rank: int, folder: str) -> None:
    """One of two processes: every scenario in turn, saved for the test to compare."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    try:
        torch.save({name: train(name, rank, 2) for name in SCENARIOS}, f"{folder}/{rank}.pt")
        torch.save(head_step(slice(0, 5) if rank == 0 else slice(5, BATCH)), f"{folder}/head{rank}.pt")
        torch.save(priors_after_reset(rank), f"{folder}/priors{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes saved."""
    folder = tmp_path_factory.mktemp("processes")
    forking_context()
    context = mp.start_processes(process, args=(str(folder),), nprocs=2, join=False, start_method="forkserver")
    assert context is not None
    deadline = time.monotonic() + LIMIT_S
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, "the processes hang"
    finally:
        for child in context.processes:
            if child.is_alive():
                child.kill()
    return folder


@pytest.fixture(scope="module")
def shards(folder: Path) -> list[dict[str, list[Step]]]:
    """What two processes made of every scenario."""
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_a_memory_that_is_drawn_anew_is_the_same_everywhere(folder: Path) -> None:
    first, second = (torch.load(folder / f"priors{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_two_processes_teach_a_head_what_one_does(folder: Path) -> None:
    parts = [torch.load(folder / f"head{rank}.pt") for rank in range(2)]
    whole = head_step(slice(BATCH))
    torch.testing.assert_close(torch.cat([part.pop("logits") for part in parts]), whole.pop("logits"))
    # Each process has the gradient of its own images; the wrapper adds them up.
    torch.testing.assert_close(sum(part.pop("gradient") for part in parts), whole.pop("gradient"))
    torch.testing.assert_close(parts[0], whole)
    torch.testing.assert_close(parts[1], parts[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != MIXED])
def test_two_processes_take_the_step_of_one(shards: list[dict[str, list[Step]]], name: str) -> None:
    for whole, *parts in zip(train(name, 0, 1), shards[0][name], shards[1][name], strict=True):
        joined = torch.cat([part["logits"] for part in parts])
        torch.testing.assert_close(joined, whole["logits"], rtol=1e-5, atol=1e-5)
        for part in parts:
            torch.testing.assert_close(part["balance"], whole["balance"], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(part["gradients"], whole["gradients"], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(part["priors"], whole["priors"], rtol=1e-5, atol=1e-5)
        assert torch.equal(parts[0]["priors"], parts[1]["priors"])


def test_in_mixed_precision_two_processes_take_the_first_step_of_one_up_to_rounding(
    shards: list[dict[str, list[Step]]],
) -> None:
    whole, parts = train(MIXED, 0, 1)[0], [shard[MIXED][0] for shard in shards]
    for part in parts:
        assert part["priors"].dtype == torch.float32
        torch.testing.assert_close(part["priors"].norm(dim=-1), torch.ones(2, 6))
        torch.testing.assert_close(part["priors"], whole["priors"], rtol=0, atol=1e-2)
        for name, gradient in part["gradients"].items():
            expected = whole["gradients"][name]
            assert (gradient - expected).norm() <= 0.1 * expected.norm(), name
    assert torch.equal(parts[0]["priors"], parts[1]["priors"])
