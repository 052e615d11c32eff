"""Answers of the HTTP interface."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class LabelScore(BaseModel):
    """One class and its probability."""

    label: str = Field(examples=["cat"])
    score: float = Field(ge=0, le=1, examples=[0.9731])


class Prediction(BaseModel):
    """The best classes of one picture, the most probable first."""

    index: int = Field(description="Place of the picture in the request, from 0.")
    labels: list[LabelScore]


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    queue: float = Field(description="Waiting for a thread.", examples=[0.2])
    decode: float = Field(description="From the first file's bytes to the last file's tensor.", examples=[3.1])
    infer: float = Field(description="In the model.", examples=[8.4])


class Classification(BaseModel):
    """What the model sees in the pictures of a request."""

    model: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(examples=["1"])
    calibrated: bool = Field(description="Whether scores are divided by a temperature fitted to held-out pictures.")
    predictions: list[Prediction]
    timing_ms: Timing


class Limits(BaseModel):
    """What a request may hold."""

    body_bytes: int = Field(description="Bytes of a request body, all files together.", examples=[20000000])
    pixels: int = Field(description="Width x height of a picture.", examples=[50000000])
    aspect: float = Field(description="Longer side of a picture / shorter side.", examples=[100.0])
    files: int = Field(description="Files of a multipart form.", examples=[16])
    formats: list[str] = Field(description="Media types of accepted pictures.", examples=[["image/jpeg"]])


class ModelVersion(BaseModel):
    """A version on disk or in memory."""

    model: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(examples=["1"])
    state: Literal["loading", "ready", "restarting", "unloading", "unavailable"]
    reason: str = Field(description="Why it does not answer, or why its newer files are not used; else empty.")


class Model(BaseModel):
    """A model that answers."""

    name: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(description="The version that answers by default.", examples=["1"])
    versions: list[str] = Field(description="Versions that are loaded, the lowest first.", examples=[["1"]])
    architecture: str = Field(examples=["ait_tiny_patch4_32"])
    labels: list[str] = Field(description="Class names, by index.", examples=[["cat", "dog"]])
    input_size: list[int] = Field(description="[channels, height, width] the model sees; any size may be sent.")
    calibrated: bool = Field(
        description="Whether the checkpoint carries a temperature, which its scores are divided by."
    )
    limits: Limits


class Models(BaseModel):
    """All models, and which of them answers where a request names none."""

    default: str | None = Field(description="Null while none is loaded.", examples=["ait_tiny_patch4_32.cifar10"])
    models: list[Model] = Field(description="Those that answer.")
    index: list[ModelVersion] = Field(description="Every version there is, whatever became of it.")


class Live(BaseModel):
    """The process runs."""

    live: bool = True


class Ready(BaseModel):
    """Requests are answered."""

    ready: bool = True
