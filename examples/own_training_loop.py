"""Train an AiT model in a plain PyTorch loop, and save a checkpoint folder.

    python examples/own_training_loop.py photos my-model

``photos`` holds one folder per class.
"""

import argparse
from pathlib import Path

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import ait  # noqa: F401  registers the ait_* models with timm


def main() -> None:
    """Read the arguments, train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    torch.manual_seed(0)
    images = ImageFolder(args.images)
    model = timm.create_model("ait_tiny_patch4_32", num_classes=len(images.classes))
    images.transform = create_transform(**resolve_model_data_config(model))
    loader = DataLoader(images, args.batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)

    model.train()
    for epoch in range(args.epochs):
        total = 0.0
        for pixels, labels in loader:
            # model(pixels) gives logits alone; this call also gives the loss that keeps the memory balanced.
            output = model.forward_training(pixels)
            loss = cross_entropy(output.logits, labels) + output.balance_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        print(f"epoch {epoch + 1}: loss {total / len(images):.3f}")

    model.pretrained_cfg["label_names"] = images.classes
    save_for_hf(model, args.output, model_config={"label_names": images.classes}, safe_serialization=True)
    print(f"saved: {args.output}")


if __name__ == "__main__":
    main()
