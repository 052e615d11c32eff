"""Train an AiT model with the Hugging Face Trainer (needs ``pip install transformers``).

    python examples/hf_trainer.py photos output

``photos`` holds one folder per class.
"""

import argparse
from pathlib import Path

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import ImageFolder
from transformers import Trainer, TrainingArguments

import ait  # noqa: F401  registers the ait_* models with timm


class Classifier(nn.Module):
    """Return a dictionary with the loss, as the Trainer expects.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.model = timm.create_model("ait_tiny_patch4_32", num_classes=num_classes)

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Classify (B, 3, H, W) pixels; return the scalar loss and (B, classes) logits."""
        if not self.training:
            logits = self.model(pixel_values)
            return {"loss": cross_entropy(logits, labels), "logits": logits}
        output = self.model.forward_training(pixel_values)
        return {"loss": cross_entropy(output.logits, labels) + output.balance_loss, "logits": output.logits}


def collate(samples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
    """Stack images of (3, H, W) and their labels into one batch."""
    pixels, labels = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(pixels), "labels": torch.tensor(labels)}


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    images = ImageFolder(args.images)
    classifier = Classifier(len(images.classes))
    images.transform = create_transform(**resolve_model_data_config(classifier.model))
    settings = TrainingArguments(
        output_dir=str(args.output),
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        learning_rate=5e-4,
        weight_decay=0.05,
        save_strategy="no",
        report_to="none",
        seed=0,
    )
    result = Trainer(model=classifier, args=settings, train_dataset=images, data_collator=collate).train()
    print(f"loss {result.training_loss:.3f} after {result.global_step} steps")


if __name__ == "__main__":
    main()
