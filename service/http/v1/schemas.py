"""Answers of the HTTP interface."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class LabelScore(BaseModel):
    """One class and its probability."""

    label: str = Field(examples=["cat"])
    score: float = Field(ge=0, le=1, examples=[0.9731])


class Prediction(BaseModel):
    """The best classes of one image, the most probable first."""

    index: int = Field(description="Place of the image in the request, from 0.")
    labels: list[LabelScore]


class Timing(BaseModel):
    """The time that each stage took, in milliseconds."""

    queue: float = Field(description="Waiting for a thread that decodes, and for the model.", examples=[0.2])
    decode: float = Field(description="From the first file's bytes to the last file's tensor.", examples=[3.1])
    infer: float = Field(description="In the model.", examples=[8.4])


class Classification(BaseModel):
    """The labels of the images of a request."""

    model: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(examples=["1"])
    calibrated: bool = Field(description="Whether scores are divided by a temperature fitted to held-out images.")
    predictions: list[Prediction]
    timing_ms: Timing


class Limits(BaseModel):
    """The limits of a request."""

    body_bytes: int = Field(description="Bytes of a request body, all files together.", examples=[20000000])
    pixels: int = Field(description="Width x height of an image.", examples=[50000000])
    aspect: float = Field(description="Longer side of an image / shorter side.", examples=[100.0])
    files: int = Field(description="Files of a multipart form.", examples=[16])
    formats: list[str] = Field(description="Media types of accepted images.", examples=[["image/jpeg"]])


class Agreement(BaseModel):
    """How far answers are from those of the model in torch and fp32."""

    images: int = Field(description="Compared.", examples=[421])
    largest_difference: float = Field(description="Of a logit.", examples=[4e-6])
    features_difference: float = Field(description="Of a feature, as a share of the largest one.", examples=[2e-7])
    same_label: float = Field(
        description="Share of images of which the same is told: the best class, or all that reach their thresholds.",
        examples=[1.0],
    )
    probability_difference: float = Field(
        description="On average, of the best class or, of any number of them, the one that differs most.",
        examples=[1.7e-7],
    )


class TriedRuntime(BaseModel):
    """A runtime and a precision that were tried when the model was loaded."""

    runtime: Literal["torch", "onnxruntime", "openvino"]
    precision: Literal["fp32", "bf16", "int8"]
    reason: str = Field(description="Why it cannot be taken; empty if it can.")
    agreement: Agreement | None = Field(description="null where nothing was compared.")
    images_per_second: dict[str, float] = Field(
        description="By the size of a batch, as many side by side as are served so; empty where none was measured.",
        examples=[{"1": 391.0, "8": 854.0}],
    )


class Runtime(BaseModel):
    """What a model runs in."""

    name: Literal["torch", "onnxruntime", "openvino"]
    precision: Literal["fp32", "bf16", "int8"]
    reason: str = Field(description="Why it was chosen.")
    tried: list[TriedRuntime]


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
    memory: bool = Field(description="Whether it is a memory, which can be taught at /v1/memories.")
    associative_head: bool = Field(description="Whether a memory can begin with what it knows, with start: head.")
    runtime: Runtime = Field(description="What it runs in, and what else was tried.")
    limits: Limits


class Models(BaseModel):
    """All models, and which of them answers where a request names none."""

    default: str | None = Field(description="Null while none is loaded.", examples=["ait_tiny_patch4_32.cifar10"])
    models: list[Model] = Field(description="Those that answer.")
    index: list[ModelVersion] = Field(description="Every version there is, whatever became of it.")


class PatchMap(BaseModel):
    """The contribution of each patch to a class. `values` and `rest` add up to `logit`."""

    label: str = Field(description="The class that is explained.", examples=["cat"])
    index: int = Field(description="Its index.", examples=[3])
    method: Literal["contribution", "gradient"] = Field(
        description="contribution: what each patch of the image adds over a patch of the mean colour, with "
        "attention, norms, activations and recall held as they are. gradient: the last feature map times the "
        "gradient by it."
    )
    values: list[float] = Field(description="One a patch, row by row; positive speaks for the class.")
    logit: float = Field(description="What the model says for the class.", examples=[5.12])
    rest: float = Field(description="What is no patch's: biases, positions, recalled patterns.", examples=[0.31])


class Block(BaseModel):
    """The work of one block's associative memory on each patch; patches are in the map's order."""

    priors: int = Field(description="Priors in the memory.", examples=[32])
    energy_before: list[float] = Field(description="Energy of each patch's query.")
    energy_after: list[float] = Field(description="Energy of what it retrieved; not above the one before.")
    energy: list[float] = Field(description="Energy of each patch's query under all blocks' memories together.")
    responsibilities: list[list[float]] = Field(
        description="Of each patch, the share of each block's memory in that energy; they add up to 1.",
        examples=[[[0.1, 0.6, 0.2, 0.1]]],
    )
    recalled: list[list[tuple[int, float]]] = Field(
        description="Of each patch, the priors it recalled most strongly, [prior, share of recall], strongest first.",
        examples=[[[[17, 0.61], [3, 0.2], [5, 0.05]]]],
    )


class WithoutMemory(BaseModel):
    """The answer if the blocks' memories retrieved nothing: what differs is what they contribute."""

    labels: list[LabelScore] = Field(description="The best classes, the most probable first.")
    logit: float = Field(description="For the class that the map explains.", examples=[5.09])


class ClassRecall(BaseModel):
    """What the memory in the model's head recalled of one class: such a model answers with what it recalls most."""

    label: str = Field(examples=["cat"])
    recalled: list[float] = Field(
        description="A prior of the class each, its share of all that is recalled; over all classes they add up to 1.",
        examples=[[0.61, 0.12, 0.02, 0.01]],
    )


class Example(BaseModel):
    """A training image that the model finds similar."""

    name: str = Field(examples=["cat/0001.jpg"])
    similarity: float = Field(description="From -1 to 1: mean of the cosines of features and of logits.")
    thumbnail: str = Field(description="A small image of it, as a data: URI.", examples=["data:image/jpeg;base64,…"])
    width: int = Field(description="Of the thumbnail, in pixels.", examples=[32])
    height: int = Field(examples=[32])


class ClassExamples(BaseModel):
    """The training images of one class that are most like the image."""

    label: str = Field(examples=["cat"])
    score: float = Field(description="The class's probability.", ge=0, le=1)
    nearest: list[Example] = Field(description="The most similar first.")


class Overlays(BaseModel):
    """The image as the model sees it, with maps laid over it: PNG files as data: URIs."""

    map: str | None = Field(description="The patch map: orange for the class, blue against it.")
    energy: list[str] = Field(
        description="Of each block, how much more than in the least of them retrieval lowered each patch's energy."
    )


class Explanation(BaseModel):
    """The explanation of the answer to one image."""

    model: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(examples=["1"])
    calibrated: bool = Field(description="Whether scores are divided by a temperature fitted to held-out images.")
    labels: list[LabelScore] = Field(description="The best classes, the most probable first.")
    grid: list[int] | None = Field(description="Rows and columns of the patches.", examples=[[8, 8]])
    region: list[float] | None = Field(
        description="What part of the upright image the model saw, and the patches cover: left, top, right, bottom, "
        "as shares of its width and height.",
        examples=[[0.125, 0, 0.875, 1]],
    )
    map: PatchMap | None = Field(description="null for a model that has neither patches nor a feature map.")
    blocks: list[Block] = Field(description="Empty for a model without an associative memory in its blocks.")
    without_memory: WithoutMemory | None = Field(description="null for a model without memories in its blocks.")
    class_recall: list[ClassRecall] | None = Field(
        description="Of the best classes, the most recalled first; null for a model whose head holds no memory."
    )
    examples: list[ClassExamples] = Field(
        description="Of the three best classes; empty where the checkpoint has no exemplars."
    )
    overlays: Overlays | None = Field(description="null unless asked for.")
    timing_ms: Timing


class Embedding(BaseModel):
    """The feature vector of one image."""

    index: int = Field(description="Place of the image in the request, from 0.")
    features: list[float]


class Embeddings(BaseModel):
    """Feature vectors of the images of a request."""

    model: str = Field(examples=["ait_tiny_patch4_32.cifar10"])
    version: str = Field(examples=["1"])
    dimensions: int = Field(description="Numbers in a feature vector.", examples=[192])
    embeddings: list[Embedding]
    timing_ms: Timing
