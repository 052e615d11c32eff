"""Make the parts of a run from its recipe: images, model, optimiser, schedule."""

import copy
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console
from timm.scheduler.scheduler import Scheduler
from torch import nn

from training.data import BatchTransform, Preprocessing, open_splits
from training.model.freezing import freeze
from training.model.learner import create_model, enable_grad_checkpointing
from training.model.memory_format import store_channels_last
from training.model.mimetic import mimetic_attention
from training.model.plain_attention import take_plain_attention
from training.model.start import find_start
from training.model.whitening import whiten_patch_embedding
from training.recipe.keys import Recipe
from training.run.head import Features, fit_head
from training.run.images import RunImages
from training.run.input_size import choose_preprocessing
from training.run.validation import Validation
from training.seeds import stream_seed
from training.step.distillation import load_teacher
from training.step.optimiser import create_schedule
from training.step.training_step import TrainingStep
from training.step.update import Update

_WHITENING_IMAGES = 4000


@dataclass(frozen=True)
class RunParts:
    """All that a run works with.

    Attributes:
        images: Training and validation images.
        preprocessing: What images go through.
        architecture: The model before training, without weights (on the meta device).
        model: What is trained, on the accelerator's device.
        update: Changes the model by inputs.
        step: Changes the model by bytes.
        schedule: Sets the learning rate before each step.
        validation: Scores the model.
    """

    images: RunImages
    preprocessing: Preprocessing
    architecture: nn.Module
    model: nn.Module
    update: Update
    step: TrainingStep
    schedule: Scheduler
    validation: Validation


def prepare(recipe: Recipe, accelerator: Accelerator, console: Console, img_size: int = 0) -> RunParts:
    """Open and decode a recipe's images, and make its model, optimiser and schedule.

    Args:
        recipe: The whole of it; each part is handed its own section.
        accelerator: Device, precision and processes.
        console: Where progress goes.
        img_size: Side of the images in pixels that a run which goes on has chosen; 0 chooses.

    Raises:
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint that fine-tuning starts from cannot be used.
    """
    training, validation = open_splits(recipe.data, recipe.seed)
    torch.manual_seed(stream_seed(recipe.seed, 0, "model"))
    model = create_model(recipe.model, training.classes, console)
    with accelerator.main_process_first():
        preprocessing = choose_preprocessing(recipe, model, training, accelerator.device, console, img_size)
    # One process decides: others, on other machines, may round otherwise, and all are to see the same images.
    (preprocessing,) = broadcast_object_list([preprocessing])
    # Before images are decoded, which may take long: it may not fit.
    teacher = load_teacher(recipe.distil, training.classes, preprocessing, accelerator.device)
    with accelerator.main_process_first():
        images = RunImages(recipe, training, validation, preprocessing, accelerator.device, console)
    if recipe.mimetic_attention:
        mimetic_attention(model, seed=recipe.seed)
    if recipe.patch_whitening:
        whiten_patch_embedding(model, preprocessing.normalise(images.some(_WHITENING_IMAGES).cpu()), seed=recipe.seed)
    if recipe.head_first:
        model = model.to(accelerator.device)
        folder = find_start(recipe.model).folder
        features = Features(
            model, preprocessing, accelerator.device, recipe.data.cache, console, folder, recipe.model.args
        )
        with accelerator.main_process_first():
            solved = fit_head(model, features, images, recipe.seed)
        console.print(
            f"head solved for first: {solved.head.accuracy(images.labels):.2%} of the training images right when each "
            "is left out",
            soft_wrap=True,
        )
    freeze(model, recipe.freeze)
    if recipe.grad_checkpointing:
        enable_grad_checkpointing(model)
    architecture = copy.deepcopy(model).to("meta")
    model = model.to(accelerator.device)
    if accelerator.device.type == "cpu" and recipe.sharding == "none":
        store_channels_last(model)
        if recipe.precision == "bf16":
            take_plain_attention(model, torch.zeros(1, *preprocessing.input_size), dtype=torch.bfloat16)
    update = Update(recipe.update, model, accelerator, images.class_weights, teacher)
    transform = BatchTransform(recipe.augment, preprocessing, len(training.classes))
    return RunParts(
        images=images,
        preprocessing=preprocessing,
        architecture=architecture,
        model=model,
        update=update,
        step=TrainingStep(update, transform, images.labels, accelerator, recipe.seed, images.weights),
        schedule=create_schedule(
            update.learned.optimizer, recipe.schedule, recipe.optimizer.lr, recipe.epochs, images.steps_per_epoch
        ),
        validation=Validation(update, images, preprocessing, accelerator),
    )
