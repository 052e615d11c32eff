"""The keys of a recipe, their types, defaults and meanings: all that a training run depends on."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _refuse_bool(value: Any) -> Any:
    """Refuse booleans: a YAML ``true`` is not the number one."""
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")
    return value


Count = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Fraction = Annotated[Number, Field(gt=0, le=1)]


class Section(BaseModel):
    """A group of recipe keys; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Source = Literal["folder", "table", "cifar10", "cifar100", "oxford_iiit_pet", "triangle", "triangle_faithful"]


class DataRecipe(Section):
    """The images, and how they reach the model's input size."""

    source: Source = Field(
        default="folder",
        description="What data.root holds: folder, one folder of images per class; table, a .csv or .parquet file "
        "with the columns path, label and, if wanted, split (train, val or test) and weight (of the image in the "
        "loss); cifar10, cifar100 and oxford_iiit_pet, the published files as torchvision lays them out. triangle is "
        "generated and needs no root; so is triangle_faithful, as the published set is drawn.",
    )
    root: Path | None = Field(
        default=None,
        validate_default=True,
        description="Folder with train/ and val/ (or test/) of one folder per class, or class folders directly; "
        "or what data.source says.",
    )
    layout: Literal["auto", "splits", "classes"] = Field(
        default="auto",
        description="What the folders in data.root are: splits (train, and val or test, in any case) of class "
        "folders, or classes. auto: splits where every folder is called like one and holds folders; "
        "for classes that are called like splits, and splits beside other folders.",
    )
    multi_label: Flag = Field(
        default=False,
        description="An image has any number of classes: the table's column label holds a|b, or nothing for none; or "
        "in its place there is a column of 0 and 1 for each class. Needs loss=bce.",
    )
    validation_fraction: Number | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of each class's training images held out for validation. "
        "Left out: the source's own validation or test images are used, or 0.1 where there are none.",
    )
    broken: Literal["error", "skip"] = Field(
        default="error",
        description="Images that cannot be decoded: error ends the run and lists them, skip leaves them out, "
        "named and counted.",
    )
    caching: Literal["none", "ram", "device"] = Field(
        default="ram",
        description="Where decoded images are kept: ram, decoded once into a memory-mapped file; device, the same "
        "and then held on the accelerator; none, decoded anew for every batch, for sets larger than the disk cache "
        "may be.",
    )
    workers: Count = Field(
        default=4,
        ge=0,
        description="Processes that decode images (caching=none) and augment them one by one, "
        "at most one per core; they change no result. "
        "0: the training process does it.",
    )
    balance: Literal["none", "sampler", "loss"] = Field(
        default="none",
        description="What is done about classes with few images: sampler visits them more often, loss weighs them "
        "more, both inversely to their frequency.",
    )
    mean: tuple[Number, ...] | None = Field(
        default=None, description="Channel means in [0, 1]; the model's if left out."
    )
    std: tuple[Number, ...] | None = Field(
        default=None, description="Channel standard deviations; the model's if left out."
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = Field(
        default=None, description="How images of another size are resized; the model's if left out."
    )
    crop_pct: Number | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the resized image kept by the centre crop; the model's if left out.",
    )
    cache: Path | None = Field(
        default=None, description="Folder for decoded images; the user's cache folder if left out."
    )

    @field_validator("root")
    @classmethod
    def _root_is_given(cls, root: Path | None, info: ValidationInfo) -> Path | None:
        source = info.data.get("source")  # absent where it is itself refused
        if root is None and source not in (None, "triangle", "triangle_faithful"):
            raise PydanticCustomError("missing", "needed by data.source={source}", {"source": source})
        return root


class ModelRecipe(Section):
    """The timm model, and the weights it starts from."""

    name: str = Field(description="A timm model name, such as ait_tiny_patch4_32.")
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments for timm.create_model, such as {drop_path_rate: 0.1}, or {img_size: 64} "
        "for another input size.",
    )
    checkpoint: str | None = Field(
        default=None,
        description="Fine-tune this: a folder such as a run's best, or a bundled model, of the architecture "
        "model.name. Everything is loaded (position embeddings are resampled for another img_size); the head is "
        "new unless the classes have the same names in the same order. Left out: random weights.",
    )
    pretrained: Literal[True, False, "auto"] = Field(
        default=False,
        description="Fine-tune timm's pretrained weights of model.name, in the same way; bundled ones are read "
        "from the package, others downloaded. auto: from model.checkpoint, else what is installed (any tag, where "
        "model.name has none), the hub's cache, or the hub, and says which. Never random weights but for false.",
    )

    @model_validator(mode="after")
    def _one_start(self) -> "ModelRecipe":
        if self.pretrained is True and self.checkpoint is not None:
            raise ValueError("checkpoint and pretrained=true name two starts; give one, or pretrained=auto")
        return self


class OptimizerRecipe(Section):
    """A timm optimiser."""

    name: str = Field(default="adamw", description="A timm optimiser name, such as adamw, muon or nmuon.")
    lr: Number = Field(default=1e-3, gt=0, description="Peak learning rate.")
    weight_decay: Number = Field(
        default=0.05, ge=0, description="Decoupled weight decay; norms and biases are exempt."
    )
    layer_decay: Number | None = Field(
        default=None, gt=0, le=1, description="Learning rate factor from each layer to the one below it."
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments for timm's optimiser factory, such as {betas: [0.9, 0.95]} "
        "or, for muon, {fallback_list: [head], fallback_lr_scale: 0.5}.",
    )


class ScheduleRecipe(Section):
    """The learning rate over the run, set before every update."""

    kind: Literal["cosine", "linear"] = Field(default="cosine", description="Shape of the decay after the warm-up.")
    warmup_epochs: Number = Field(default=5.0, ge=0, description="Epochs of linear warm-up (fractions allowed).")
    min_lr: Number = Field(default=0.0, ge=0, description="Learning rate at the end of the run.")


class AugmentRecipe(Section):
    """Random changes to training images, drawn anew for every image and epoch."""

    crop_padding: Count = Field(
        default=4,
        ge=0,
        description="Pixels an image may shift each way; the border is reflected. 0: no shift.",
    )
    flip: Flag = Field(default=True, description="Mirror half of the images left to right.")
    brightness: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of brightness.")
    contrast: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of contrast.")
    saturation: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of saturation.")
    erase: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Side of a grey square laid over every image (cutout, arXiv 1708.04552), as a share of the "
        "image's side. 0: none.",
    )
    policy: Literal["none", "randaugment", "trivialaugment"] = Field(
        default="none",
        description="Random operations on single images while they are loaded: randaugment (arXiv 1909.13719) or "
        "trivialaugment (arXiv 2103.10158, the wide space), as torchvision has them.",
    )
    num_ops: Count = Field(default=2, gt=0, description="Operations per image, of randaugment.")
    magnitude: Count = Field(default=9, ge=0, le=30, description="Strength of randaugment's operations, up to 30.")
    resized_crop: tuple[Fraction, Fraction] | None = Field(
        default=None,
        description="Smallest and largest share of an image's area that a random crop keeps, resized to the input "
        "size while images are loaded, such as [0.08, 1.0]; best with crop_padding 0. Left out: no such crop.",
    )
    random_erasing: Number = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the images that lose a random rectangle, of 0.02 to 1/3 of their area (random erasing, "
        "arXiv 1708.04896).",
    )
    random_erasing_fill: Literal["mean", "noise"] = Field(
        default="mean", description="What fills the rectangle: the channel means, or random bytes."
    )
    mixup: Number = Field(
        default=0.0,
        ge=0,
        description="Alpha of mixup (arXiv 1710.09412): both parameters of its weights' Beta distribution. 0: none.",
    )
    cutmix: Number = Field(
        default=0.0,
        ge=0,
        description="Alpha of cutmix (arXiv 1905.04899). 0: none. With mixup too, each is taken half of the time.",
    )
    mix_per: Literal["batch", "image"] = Field(
        default="batch", description="Draw mixup's and cutmix's weights once per batch, or for every image."
    )
    repeats: Count = Field(
        default=1,
        gt=0,
        description="How often an image comes in a row, each time augmented anew (repeated augmentation, "
        "arXiv 1901.09335); an epoch then has as many updates as before, of fewer different images.",
    )

    @field_validator("resized_crop")
    @classmethod
    def _check_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("expected the smaller share first")
        return value


class DistilRecipe(Section):
    """Soft targets from a trained model, beside the labels."""

    teacher: str | None = Field(
        default=None,
        description="A checkpoint's folder or a bundled model, of any architecture, whose answers to the same "
        "augmented images the model learns too; it must know every class here, by name. Left out: none.",
    )
    temperature: Number = Field(
        default=2.0, gt=0, description="What the logits of both are divided by before they are compared."
    )
    weight: Number = Field(
        default=0.5, gt=0, le=1, description="Share of the teacher in the loss; the labels have the rest."
    )


@dataclass(frozen=True)
class UpdateSettings:
    """How one update changes the model: the section `optimizer`, and the top-level keys of the same names.

    Attributes:
        optimizer: Kind and arguments of the optimiser.
        loss: Loss of the logits.
        label_smoothing: Probability spread over all classes.
        distil: Temperature and share of a teacher.
        multi_label: True where an image has any number of classes.
        ema_decay: Decay per update of the averaged weights; None averages none.
        balance_weight: Weight of the balance loss.
        clip_grad: Largest global gradient norm; None sets no limit.
        accumulate: Parts into which each process cuts its share of a batch.
        compile: True compiles the step.
        sharding: ``full`` spreads the model over the processes.
    """

    optimizer: OptimizerRecipe
    loss: Literal["cross_entropy", "bce"]
    label_smoothing: float
    distil: DistilRecipe
    multi_label: bool
    ema_decay: float | None
    balance_weight: float
    clip_grad: float | None
    accumulate: int
    compile: bool
    sharding: Literal["none", "full"]


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
    evaluate_every: Count = Field(default=1, gt=0, description="Epochs between validations; the last epoch always is.")
    checkpoint_every: Count | None = Field(
        default=None, gt=0, description="Updates between checkpoints within an epoch; left out: epochs' ends alone."
    )
    keep_checkpoints: Count = Field(
        default=1,
        gt=0,
        description="Models to keep, the best by validation accuracy; more than best/ go to checkpoints/.",
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
