"""Describe what a model takes and gives, in the protocol's terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.inference_protocol.errors import ProtocolError, TooLarge, quoted


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. A dimension of -1 is the batch: any number that the signature allows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def describe(self) -> dict[str, Any]:
        """Describe the tensor as in a model's metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model, and how many of them a request may have."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch: int

    def input(self, name: object) -> TensorSpec:
        """Get the input of a name.

        Raises:
            ProtocolError: There is none.
        """
        return _named(self.inputs, name, "input")

    def output(self, name: object) -> TensorSpec:
        """Get the output of a name.

        Raises:
            ProtocolError: There is none.
        """
        return _named(self.outputs, name, "output")

    def check(self, spec: TensorSpec, datatype: object, shape: tuple[int, ...]) -> None:
        """Check what a request says of an input, before its data is looked at.

        Raises:
            ProtocolError: Another datatype or shape.
            TooLarge: The batch is larger than allowed.
        """
        place, expected = f"Input {quoted(spec.name)}", quoted(list(spec.shape))
        if datatype != spec.datatype:
            raise ProtocolError(f"{place} has the datatype {quoted(datatype)}. Send {spec.datatype}.")
        fits = len(shape) == len(spec.shape) and all(
            size >= 1 if allowed == -1 else size == allowed for size, allowed in zip(shape, spec.shape, strict=True)
        )
        if not fits:
            raise ProtocolError(
                f"{place} has the shape {quoted(list(shape))}. Send {expected}, where -1 is at least 1."
            )
        batch = max((size for size, allowed in zip(shape, spec.shape, strict=True) if allowed == -1), default=1)
        if batch > self.max_batch:
            raise TooLarge(f"{place} has a batch of {batch}; at most {self.max_batch} are taken. Send it in parts.")


def _named(specs: tuple[TensorSpec, ...], name: object, kind: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    names = ", ".join(spec.name for spec in specs)
    raise ProtocolError(f"There is no {kind} {quoted(name)}. There is: {names}.")
