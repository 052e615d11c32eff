"""The sections `optimizer` and `schedule` of a recipe."""

from typing import Any, Literal

from pydantic import Field

from training.recipe.section import Number, Section


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
    warmup_lr: Number | None = Field(
        default=None,
        ge=0,
        description="Learning rate of the first update; left out: one step of the warm-up.",
    )
    min_lr: Number = Field(default=0.0, ge=0, description="Learning rate at the end of the run.")
