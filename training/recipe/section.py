"""What the sections of a recipe have in common: unknown keys are refused, and values have the type they should."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict


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
