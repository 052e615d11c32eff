"""The section `model` of a recipe."""

from typing import Any, Literal

from pydantic import Field, model_validator

from training.recipe.section import Section


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
        "model.name has none), the hub's cache, or the hub, and says which. Only false starts from random weights.",
    )

    @model_validator(mode="after")
    def _one_start(self) -> "ModelRecipe":
        if self.pretrained is True and self.checkpoint is not None:
            raise ValueError("checkpoint and pretrained=true name two starts; give one, or pretrained=auto")
        return self
