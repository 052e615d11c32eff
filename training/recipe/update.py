"""What an update of the model depends on: the section `distil`, and the keys that a step is handed together."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from training.recipe.optimizer import OptimizerRecipe
from training.recipe.section import Number, Section


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
