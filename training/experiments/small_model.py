"""A small AiT that an experiment trains in seconds."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ait.associative_transformer import AssociativeTransformer

_BATCH = 128


def train_small_model(
    images: Tensor,
    labels: Tensor,
    epochs: int,
    rate: float,
    seed: int,
    *,
    patch_size: int = 4,
    memory: str = "orthogonal",
    after_epoch: Callable[[int, AssociativeTransformer], None] | None = None,
) -> AssociativeTransformer:
    """Train an AiT of two blocks, width 64 and 16 priors by AdamW, with one cycle of the learning rate.

    Args:
        images: Shape (N, C, S, S).
        labels: Shape (N,), int64, every class up to the largest.
        epochs: Passes over the images.
        rate: Largest learning rate.
        seed: Of the start and the order.
        patch_size: Side of a patch in pixels.
        memory: Named memory of the blocks.
        after_epoch: Told how many epochs are done, 0 before the first, and the model in evaluation.

    Returns:
        The model, in evaluation.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AssociativeTransformer(
            img_size=images.shape[-1],
            patch_size=patch_size,
            embed_dim=64,
            depth=2,
            num_heads=4,
            mlp_ratio=2.0,
            num_classes=int(labels.max()) + 1,
            memory=memory,
            memory_args={"num_priors": 16, "prior_dim": 16, "num_heads": 4, "bottleneck": 64},
        )
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs * (len(images) // _BATCH))
        for epoch in range(epochs + 1):
            if epoch:
                _train_epoch(model, images, labels, optimiser, schedule)
            model.eval()
            if after_epoch is not None:
                after_epoch(epoch, model)
    return model


def _train_epoch(
    model: AssociativeTransformer,
    images: Tensor,
    labels: Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    model.train()
    order = torch.randperm(len(images))
    for chosen in order[: len(order) // _BATCH * _BATCH].split(_BATCH):
        output = model.forward_training(images[chosen])
        loss = F.cross_entropy(output.logits, labels[chosen]) + 0.01 * output.balance_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
