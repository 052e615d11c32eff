"""Train a head in closed form on a frozen model: features once, then ridge regression."""

import time

import torch
from accelerate import Accelerator
from rich.console import Console
from torch.nn import functional as F

from training.data import open_splits
from training.errors import RecipeError
from training.evaluation.exemplars import Embedded
from training.model.learner import create_model
from training.model.ridge_head import linear_head
from training.model.start import find_start
from training.recipe.keys import Recipe
from training.run.head import Features, fit_head
from training.run.images import RunImages
from training.run.input_size import choose_preprocessing
from training.run.interruption import Interruption
from training.run.output.folder import RunFolder
from training.run.output.state import Position, changed_keys
from training.run.output.writer import Answers, RunWriter
from training.step.learned import Snapshot


def solve_run(recipe: Recipe, accelerator: Accelerator, console: Console, interruption: Interruption) -> Position:
    """Solve for the head of a recipe's model, and write the run's folder as training by gradients does.

    Args:
        recipe: What to train on what; its optimiser, schedule and augmentation are not used.
        accelerator: Device and processes.
        console: Where progress goes.
        interruption: Lets a signal end the run at once; the features computed by then are kept.

    Returns:
        The end of the run.

    Raises:
        RecipeError: The model cannot be made, has no linear head or starts from random weights, or there are several
            processes.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint to start from cannot be used.
        OutputError: The output or the cache folder cannot be written to.
        TrainingInterrupted: A signal arrived.
    """
    if accelerator.num_processes > 1:
        raise RecipeError("method=closed_form runs in one process; start it without torchrun")
    if recipe.model.checkpoint is None and not recipe.model.pretrained:
        raise RecipeError(
            "method=closed_form keeps the model as it is and needs trained weights: set model.pretrained=auto or "
            "model.checkpoint, or method=gradient"
        )
    started, device, folder = time.perf_counter(), accelerator.device, RunFolder(recipe.output)
    earlier = folder.settings()
    if earlier is not None and (changed := changed_keys(earlier, recipe.model_dump(mode="json"))):
        console.print(
            f"{recipe.output} was made with other settings ({', '.join(changed)}): its model is replaced",
            soft_wrap=True,
        )
    with interruption.at_once("stopped; --resume auto continues with the features that were computed"):
        training, validation = open_splits(recipe.data, recipe.seed)
        model = create_model(recipe.model, training.classes, console)
        linear_head(model)
        preprocessing = choose_preprocessing(recipe, model, training, device, console)
        images = RunImages(recipe, training, validation, preprocessing, device, console)
        model = model.to(device)
        start = find_start(recipe.model).folder
        features = Features(model, preprocessing, device, recipe.data.cache, console, start, recipe.model.args)
        held_out = features(images.validation_images, len(images.validation), "validation features")
        solved = fit_head(model, features, images, recipe.seed)
    head = solved.head
    logits = head(held_out)
    position = Position(epoch=1, step=1)
    position.history.append(
        {
            "epoch": 1,
            "step": 1,
            "lr": 0.0,
            "train_loss": float(F.cross_entropy(head.left_out, images.labels)),
            "balance_loss": 0.0,
            "train_acc": _share_right(head.left_out, images.labels),
            "val_loss": float(F.cross_entropy(logits, images.validation.labels)),
            "val_acc": _share_right(logits, images.validation.labels),
        }
    )
    seconds = time.perf_counter() - started
    position.timings.append({"epoch": 1, "images_per_second": len(images) / seconds, "seconds": seconds})
    position.best_epoch, position.best_accuracy = 1, position.history[0]["val_acc"]
    writer = RunWriter(folder, recipe, images, preprocessing, model)
    writer.create()
    writer.describe(Position())
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    writer.keep_epoch(position, Snapshot(weights, None, {}, {}, None), improved=True)
    # What is known already is not computed again. A flattened head reads more than exemplars keep.
    flat = getattr(model, "global_pool", None) == "flat"
    embedded = None if flat else Embedded(solved.features, head(solved.features))
    page = writer.report(position, device, Answers(logits, solved.calibration, embedded))
    console.print(
        f"head solved from {len(images):,} images, lambda {head.regularisation:g}: "
        f"{position.history[0]['train_acc']:.2%} right when each is left out, "
        f"{position.best_accuracy:.2%} of {len(images.validation):,} validation images; {recipe.output / 'best'}",
        soft_wrap=True,
    )
    console.print(f"report: {page}", soft_wrap=True)
    return position


def _share_right(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())
