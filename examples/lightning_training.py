"""Train an AiT model with Lightning (needs ``pip install lightning``).

    python examples/lightning_training.py photos

``photos`` holds one folder per class.
"""

import argparse
from pathlib import Path

import lightning
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import ait  # noqa: F401  registers the ait_* models with timm


class Classifier(lightning.LightningModule):
    """Wrap an AiT model for Lightning.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.model = timm.create_model("ait_tiny_patch4_32", num_classes=num_classes)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of one batch: (B, 3, H, W) pixels and (B,) labels to a scalar."""
        pixels, labels = batch
        output = self.model.forward_training(pixels)
        loss = cross_entropy(output.logits, labels) + output.balance_loss
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=5e-4, weight_decay=0.05)


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    lightning.seed_everything(0)
    images = ImageFolder(args.images)
    classifier = Classifier(len(images.classes))
    images.transform = create_transform(**resolve_model_data_config(classifier.model))
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
    )
    trainer.fit(classifier, DataLoader(images, args.batch_size, shuffle=True))
    print(f"loss {trainer.callback_metrics['loss']:.3f} after {trainer.global_step} steps")


if __name__ == "__main__":
    main()
