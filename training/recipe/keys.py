"""The keys of a recipe, their types, defaults and meanings: all that a training run depends on."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from training.recipe.augment import AugmentRecipe
from training.recipe.data import DataRecipe
from training.recipe.model import ModelRecipe
from training.recipe.optimizer import OptimizerRecipe, ScheduleRecipe
from training.recipe.section import Count, Flag, Number, Section
from training.recipe.update import DistilRecipe, UpdateSettings

__all__ = [
    "AugmentRecipe",
    "DataRecipe",
    "DistilRecipe",
    "ModelRecipe",
    "OptimizerRecipe",
    "Recipe",
    "ScheduleRecipe",
    "Section",
    "UpdateSettings",
]


class Recipe(Section):
    """One training run."""

    data: DataRecipe
    model: ModelRecipe
    output: Path = Field(description="Folder for checkpoints, metrics and curves; created by the run.")
    method: Literal["gradient", "closed_form"] = Field(
        default="gradient",
        description="How the model is trained: gradient moves all layers; closed_form keeps the model that it starts "
        "from and solves for its head by ridge regression, in one pass over the images as they are (no epochs, "
        "optimiser, schedule or augmentation).",
    )
    epochs: Count = Field(default=1, gt=0, description="Passes over the training images.")
    head_first: Flag = Field(
        default=False,
        description="Before the first update, solve for the head in closed form on the model as it starts, so that "
        "fine-tuning begins with a head that fits; for models that end in a linear layer.",
    )
    patience: Count | None = Field(
        default=None,
        gt=0,
        description="Validations without a better accuracy after which the run ends early; left out: all epochs.",
    )
    freeze: tuple[str, ...] = Field(
        default=(),
        description="Layers whose parameters stay as they are, by name as the model calls them, such as "
        "[patch_embed, blocks.0-5].",
    )
    freeze_batch_norm: Flag = Field(
        default=False,
        description="Normalise by the running statistics that the model starts with, in training too. For fine-tuning "
        "on images or batches unlike those of its training, whose own statistics would make other features of them.",
    )
    batch_size: Count = Field(default=128, gt=0, description="Images per update, over all processes.")
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    loss: Literal["cross_entropy", "bce"] = Field(
        default="cross_entropy",
        description="Loss of the logits: cross_entropy, or bce, binary cross-entropy averaged over the classes, as "
        "timm has it.",
    )
    label_smoothing: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Probability taken from an image's class or classes and spread over all alike.",
    )
    distil: DistilRecipe = DistilRecipe()
    ema_decay: Number | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Decay per update of the averaged weights, after a warm-up; left out: none.",
    )
    balance_weight: Number = Field(
        default=1e-2, ge=0, description="Weight of the balance loss, for models that have one."
    )
    clip_grad: Number | None = Field(
        default=None, gt=0, description="Largest global gradient norm; left out: no limit."
    )
    accumulate: Count = Field(
        default=1, gt=0, description="Parts into which each process cuts its share of a batch, to save memory."
    )
    grad_checkpointing: Flag = Field(
        default=False, description="Recompute blocks in the backward pass: less memory, a third more time."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Number format of training: bf16 and fp16 are mixed precision. Evaluation is in float32.",
    )
    device: Literal["auto", "cpu"] = Field(default="auto", description="auto takes an accelerator where there is one.")
    compile: Flag = Field(default=False, description="Compile the training step with torch.compile.")
    sharding: Literal["none", "full"] = Field(
        default="none",
        description="What each process of a torchrun holds: none, the whole model; full, its part of weights, "
        "gradients and optimiser state (FSDP2), for models that no single device can train.",
    )
    mimetic_attention: Flag = Field(
        default=False,
        description="Start self-attention and positions as trained ones look (arXiv 2305.09828).",
    )
    patch_whitening: Flag = Field(
        default=False, description="Start the patch embedding from whitening filters of the training patches."
    )
    tracking: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(),
        description="Trackers that are sent the metrics of every epoch, such as [tensorboard], beside metrics.csv and "
        "metrics.jsonl. They come with the package's extra named tracking.",
    )
    evaluate_every: Count = Field(
        default=1, gt=0, description="Epochs between validations; the last epoch is always validated."
    )
    checkpoint_every: Count | None = Field(
        default=None,
        gt=0,
        description="Updates between checkpoints within an epoch; left out: at the end of each epoch only.",
    )
    keep_checkpoints: Count = Field(
        default=1,
        gt=0,
        description="Models to keep, the best by validation accuracy; if more than one, also in checkpoints/.",
    )
    figures: Flag = Field(
        default=True,
        description="Draw the curves after every epoch, and the figures of the report. false spares many short runs "
        "the time that drawing takes; metrics.csv and report.md are written all the same.",
    )
    exemplars: Count = Field(
        default=32,
        ge=0,
        description="Training images per class that are kept beside the best model, as thumbnails with their "
        "features, so that the service can show those most like an image. 0: none leave the training data.",
    )
    seed: Count = Field(default=0, ge=0, description="Seed of the start, the order, the augmentation and the split.")

    @property
    def multi_label(self) -> bool:
        """True where an image has any number of classes."""
        return self.data.multi_label

    @property
    def update(self) -> UpdateSettings:
        """The keys that say how one update changes the model."""
        return UpdateSettings(**{field.name: getattr(self, field.name) for field in fields(UpdateSettings)})

    @model_validator(mode="after")
    def _check_sharding(self) -> "Recipe":
        if self.sharding == "full":
            if self.compile:
                raise ValueError("compile does not go with sharding=full; set compile=false")
            if self.precision == "fp16":
                raise ValueError("precision=fp16 does not go with sharding=full; set precision=bf16")
        return self

    @model_validator(mode="after")
    def _check_teacher(self) -> "Recipe":
        if self.distil.teacher is not None:
            if self.loss != "cross_entropy":
                raise ValueError("distil.teacher needs loss=cross_entropy")
            if self.method == "closed_form":
                raise ValueError("distil.teacher needs method=gradient; a head in closed form learns the labels alone")
        return self

    @model_validator(mode="after")
    def _check_closed_form(self) -> "Recipe":
        if self.method == "closed_form" and self.data.balance != "none":
            raise ValueError(
                f"data.balance={self.data.balance} needs method=gradient; a closed form counts all images alike"
            )
        return self

    @model_validator(mode="after")
    def _check_multi_label(self) -> "Recipe":
        needed: dict[str, tuple[Any, Any]] = {
            "data.source": (self.data.source, "table"),
            "loss": (self.loss, "bce"),
            "method": (self.method, "gradient"),
            "head_first": (self.head_first, False),
            "data.balance": (self.data.balance, "none"),
        }
        wrong = [f"{key}={str(value).lower()}" for key, (now, value) in needed.items() if now != value]
        if self.multi_label and wrong:
            raise ValueError(f"data.multi_label needs {', '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _keep_loaded_weights(self) -> "Recipe":
        if self.model.checkpoint is None and not self.model.pretrained:
            if self.head_first:
                raise ValueError(
                    "head_first needs trained weights: set model.pretrained=auto or model.checkpoint, or "
                    "head_first=false"
                )
            return self
        for key in ("mimetic_attention", "patch_whitening"):
            if getattr(self, key):
                raise ValueError(f"{key} would overwrite the weights that fine-tuning starts from; set {key}=false")
        return self
