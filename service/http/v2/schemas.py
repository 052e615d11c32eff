"""Answers of the Open Inference Protocol, besides inference itself."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ServerMetadata(BaseModel):
    """The server."""

    name: str = Field(examples=["ait"])
    version: str = Field(examples=["0.1.0"])
    extensions: list[str] = Field(examples=[["binary_tensor_data"]])


class TensorMetadata(BaseModel):
    """An input or output of a model; -1 is the batch."""

    name: str = Field(examples=["pixels"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[-1, 3, 32, 32]])


class ModelMetadata(BaseModel):
    """A model. A request gives one of the inputs."""

    name: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    versions: list[str] = Field(description="Versions that answer.", examples=[["1"]])
    platform: str = Field(examples=["pytorch_timm"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """A version of a model answers."""

    name: str
    ready: bool = True


class DurationStat(BaseModel):
    """Count of something, and the time it took in all."""

    count: int
    ns: int


class InferenceStats(BaseModel):
    """Requests of the inference protocol."""

    success: DurationStat
    fail: DurationStat
    queue: DurationStat
    compute_input: DurationStat
    compute_infer: DurationStat
    compute_output: DurationStat


class BatchStats(BaseModel):
    """Batches of one size."""

    batch_size: int
    compute_input: DurationStat
    compute_infer: DurationStat
    compute_output: DurationStat


class ModelStatistics(BaseModel):
    """A version of a model since the server started."""

    name: str
    version: str
    last_inference: int = Field(description="Milliseconds since 1970; 0 for never.")
    inference_count: int = Field(description="Images answered, whoever asked.")
    execution_count: int = Field(description="Batches run.")
    inference_stats: InferenceStats
    batch_stats: list[BatchStats]
    memory_usage: list[int]


class Statistics(BaseModel):
    """Counters of all versions that were asked for."""

    model_stats: list[ModelStatistics]


class IndexEntry(BaseModel):
    """A version of a model in the repository."""

    name: str
    version: str
    state: str = Field(description="READY, LOADING, UNLOADING or UNAVAILABLE.", examples=["READY"])
    reason: str = Field(description="Why it is in that state; may be empty.")
