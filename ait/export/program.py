"""Models as files for other runtimes: torch.export, ONNX, and a folder for the Hugging Face hub.

No file is accepted unseen: it is written beside its place, loaded again, compared with the eager model on
images at several batch sizes, and only then moved to where it was asked for.
"""

import copy
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import timm
import torch
from timm.data.model_config import resolve_input_data_config
from timm.models import save_for_hf
from torch import Tensor, nn

from ait.associative_transformer import AssociativeTransformer
from ait.export.model_card import model_card
from ait.export.sample_images import made_images
from ait.pretrained import label_names
from ait_lite.checkpoint.atomic import sync

METADATA_FILE: Final = "metadata.json"
BATCH_SIZES: Final = (1, 2, 5, 16)
# Runtimes order their sums differently; float32 logits then differ by about 1e-6 of the largest.
TOLERANCE: Final = 1e-4
# Protocol buffers, the format of ONNX files, end there.
_MOST_ONNX_BYTES = 2**31

Predict = Callable[[Tensor], Tensor]


class ExportError(ValueError):
    """A model that cannot be exported, or whose exported file does not answer as the model does."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported model's outputs are from the eager model's.

    Attributes:
        images: Images compared, each at every batch size.
        batch_sizes: Images a call.
        largest_difference: Largest absolute difference of an output.
        largest_output: Largest absolute output of the eager model.
        same_top_class: Share of answers with the same top class.
    """

    images: int
    batch_sizes: tuple[int, ...]
    largest_difference: float
    largest_output: float
    same_top_class: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most `tolerance` of the largest output (of 1, if that is smaller)."""
        return self.largest_difference <= self.allowed(tolerance)  # NaN is not

    def allowed(self, tolerance: float) -> float:
        """The largest absolute difference that a tolerance allows."""
        return tolerance * max(1.0, self.largest_output)

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.batch_sizes)
        return (
            f"{self.images} images at batches of {sizes}: largest difference {self.largest_difference:.1e} of outputs "
            f"up to {self.largest_output:.3g}, top class equal for {self.same_top_class:.2%}"
        )


@dataclass(frozen=True)
class Export:
    """A file or folder that was accepted.

    Attributes:
        path: Where it is.
        size: Bytes, of all files.
        agreement: What was compared.
    """

    path: Path
    size: int
    agreement: Agreement


def export_program(
    model: nn.Module,
    path: str | Path,
    images: Tensor | None = None,
    *,
    probabilities: bool = False,
    temperature: float | None = None,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write a ``torch.export`` program with a dynamic batch, in float32 for the CPU.

    ``torch.export.load(path).module()`` maps normalised pixels (B, C, H, W) to logits (B, num_classes); the
    extra file ``metadata.json`` holds label names and preprocessing (`metadata`).

    Args:
        model: A timm model; it is left as it is.
        path: The ``.pt2`` file; replaced if it exists.
        images: Normalised pixels to compare on, shape (N, C, H, W); None takes made ones.
        probabilities: Give probabilities in place of logits.
        temperature: What logits are divided by for probabilities that are shares of right answers, as the checkpoint
            says; None if it does not. It is told in the metadata, and the logits stay as they are.
        tolerance: Largest difference, as a share of the largest output.

    Raises:
        ExportError: The model cannot be exported, or the file's outputs differ from the model's.
        OSError: The file cannot be written.
    """
    eager, images = _prepare(model, images, probabilities, temperature)
    with _accepted(Path(path)) as candidate:
        program = _program(eager, images)
        about = json.dumps(metadata(model, probabilities, temperature))
        torch.export.save(program, candidate, extra_files={METADATA_FILE: about})
        reloaded = torch.export.load(candidate).module()
        agreement = _checked(eager, reloaded, images, tolerance, "torch.export program")
    return Export(Path(path), Path(path).stat().st_size, agreement)


def export_onnx(
    model: nn.Module,
    path: str | Path,
    images: Tensor | None = None,
    *,
    probabilities: bool = False,
    temperature: float | None = None,
    tolerance: float = TOLERANCE,
) -> Export:
    """Write an ONNX file with a dynamic batch, in float32, compared through onnxruntime.

    Its input is ``pixels`` (batch, C, H, W), normalised; its output ``logits`` (or ``probabilities``), shape
    (batch, num_classes). The model's ``metadata_props`` hold `metadata`, what is no text as JSON.

    Args:
        model: A timm model; it is left as it is.
        path: The ``.onnx`` file; replaced if it exists.
        images: Normalised pixels to compare on, shape (N, C, H, W); None takes made ones.
        probabilities: Give probabilities in place of logits.
        temperature: What logits are divided by for probabilities that are shares of right answers, as the checkpoint
            says; None if it does not. It is told in the metadata, and the logits stay as they are.
        tolerance: Largest difference, as a share of the largest output.

    Raises:
        ExportError: The packages of the extra ``export`` are missing, the model cannot be exported, or the
            file's outputs differ from the model's.
        OSError: The file cannot be written.
    """
    missing = [package for package in ("onnx", "onnxscript", "onnxruntime") if find_spec(package) is None]
    if missing:
        raise ExportError(
            f"ONNX export needs {' and '.join(missing)}: pip install 'associative-transformer[export]' installs them."
        )
    eager, images = _prepare(model, images, probabilities, temperature)
    if sum(tensor.nbytes for tensor in eager.state_dict().values()) >= _MOST_ONNX_BYTES:
        raise ExportError("an ONNX file holds at most 2 GiB, and the weights take more; export a .pt2 file instead.")
    about = metadata(model, probabilities, temperature)
    with _accepted(Path(path)) as candidate:
        program = _program(eager, images)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own libraries
            converted = torch.onnx.export(
                program,
                input_names=["pixels"],
                output_names=[about["output"]],
                dynamic_shapes=_dynamic_batch(),
                dynamo=True,
                verbose=False,
            )
        if converted is None:
            raise ExportError("torch.onnx gave no program.")
        for key, value in about.items():
            converted.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
        converted.save(candidate)
        agreement = _checked(eager, _onnxruntime(candidate), images, tolerance, "ONNX file")
    return Export(Path(path), Path(path).stat().st_size, agreement)


def export_hub(
    model: nn.Module,
    folder: str | Path,
    images: Tensor | None = None,
    *,
    license: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    temperature: float | None = None,
) -> Export:
    """Write a folder ready for the Hugging Face hub: ``config.json``, ``model.safetensors``, ``README.md``.

    timm loads it, as ``local-dir:FOLDER`` and, once uploaded, as ``hf-hub:OWNER/NAME``. Its outputs must equal
    the model's to the last bit.

    Args:
        model: A model that timm's factory made; it is left as it is.
        folder: Created; an existing one must be empty.
        images: Normalised pixels to compare on, shape (N, C, H, W); None takes made ones.
        license: Identifier for the card's header, such as ``apache-2.0``; None leaves the field to its author.
        metrics: How good the model is; goes into ``config.json`` and the card.
        temperature: What its logits are divided by, as the checkpoint says; goes into ``config.json``. Exemplars are
            not taken along: they are training images, which not everyone may see.

    Raises:
        ExportError: The folder holds files, timm's factory did not make the model, or the folder's model
            answers otherwise.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    if not getattr(model, "pretrained_cfg", None):
        raise ExportError(f"{type(model).__name__} is not a model of timm's factory, which would have to load it.")
    eager, images = _prepare(model, images, probabilities=False)
    config: dict[str, Any] = {"metrics": dict(metrics)} if metrics else {}
    if temperature is not None:
        config["temperature"] = temperature
    if label_names(model):
        config["label_names"] = list(label_names(model))
    with _accepted(folder, is_folder=True) as candidate:
        save_for_hf(
            eager,
            str(candidate),
            model_config=config,
            safe_serialization=True,
            data_config=resolve_input_data_config(model),
        )
        card = model_card(eager, folder.resolve().name, license, metrics)
        (candidate / "README.md").write_text(card, encoding="utf-8")
        reloaded = timm.create_model(f"local-dir:{candidate}", pretrained=True).eval()
        agreement = _checked(eager, reloaded, images, 0.0, "hub folder")
    return Export(folder, sum(file.stat().st_size for file in folder.iterdir()), agreement)


def metadata(model: nn.Module, probabilities: bool = False, temperature: float | None = None) -> dict[str, Any]:
    """What a user of an exported file has to know: labels, preprocessing, names of input and output, temperature."""
    data = resolve_input_data_config(model)
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    return {
        "architecture": str(config.get("architecture", type(model).__name__)),
        "input": "pixels",
        "output": "probabilities" if probabilities else "logits",
        "temperature": temperature,
        "label_names": list(label_names(model)),
        "input_size": list(data["input_size"]),
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "interpolation": data["interpolation"],
        "crop_pct": data["crop_pct"],
        "crop_mode": data["crop_mode"],
    }


@torch.no_grad()
def compare(eager: Predict, exported: Predict, images: Tensor, batch_sizes: Sequence[int] = BATCH_SIZES) -> Agreement:
    """Put every image through both, at every batch size.

    Args:
        eager: The model.
        exported: What should answer as it does.
        images: Shape (N, C, H, W); fewer than the largest batch are repeated.
        batch_sizes: Images a call; the last batch of each size may be smaller.
    """
    count = len(images)
    images = images.repeat(-(-max(batch_sizes) // count), 1, 1, 1)
    differences, outputs, same = [], [], []
    for size in batch_sizes:
        for batch in images.split(size):
            expected, answer = eager(batch), exported(batch)
            if expected.shape != answer.shape:
                raise ExportError(f"outputs of shape {tuple(answer.shape)}, the model's {tuple(expected.shape)}.")
            differences.append((expected - answer).abs().max())
            outputs.append(expected.abs().max())
            same.append(expected.argmax(dim=1) == answer.argmax(dim=1))
    return Agreement(
        images=count,
        batch_sizes=tuple(batch_sizes),
        largest_difference=float(torch.stack(differences).max()),
        largest_output=float(torch.stack(outputs).max()),
        same_top_class=float(torch.cat(same).float().mean()),
    )


class _Probabilities(nn.Module):
    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        return (self.model(images) / self.temperature).softmax(dim=1)


def _prepare(
    model: nn.Module, images: Tensor | None, probabilities: bool, temperature: float | None = None
) -> tuple[nn.Module, Tensor]:
    """A float32 copy on the CPU that gives what was asked for, and images for it."""
    if isinstance(model, AssociativeTransformer) and any(
        block.workspace.adaptive for block in model.associative_blocks()
    ):
        raise ExportError(
            "the model writes its memory in evaluation too (adaptive), so its answers depend on earlier inputs; "
            "create it with memory_args={'adaptive': False}."
        )
    eager = copy.deepcopy(model).cpu().float().eval()
    if images is None:
        images = made_images(eager)
    return (_Probabilities(eager, temperature or 1.0) if probabilities else eager), images.cpu().float()


def _dynamic_batch() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1)},)


def _program(eager: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    example = images[:1].repeat(2, 1, 1, 1)  # of one image, torch.export would make a constant
    try:
        with torch.no_grad():
            return torch.export.export(eager, (example,), dynamic_shapes=_dynamic_batch())
    except Exception as error:  # whatever the code of any model raises while it is traced
        reason = str(error).strip().partition("\n\n")[0]
        raise ExportError(f"torch.export cannot follow the model for every batch size: {reason}") from error


def _onnxruntime(path: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"pixels": images.numpy()})[0])

    return predict


def _checked(eager: Predict, exported: Predict, images: Tensor, tolerance: float, what: str) -> Agreement:
    agreement = compare(eager, exported, images)
    if not agreement.within(tolerance):
        raise ExportError(
            f"the {what} was refused and deleted, because it does not answer as the model does: {agreement}; "
            f"at most {agreement.allowed(tolerance):.1e} is allowed."
        )
    return agreement


@contextmanager
def _accepted(path: Path, is_folder: bool = False) -> Iterator[Path]:
    """A place to write to; what is there when the block ends takes `path`'s, or is deleted after an error."""
    if is_folder and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ExportError(f"{path} is not an empty folder; remove it or choose another.")
    if not is_folder and path.is_dir():
        raise ExportError(f"{path} is a folder; give the name of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        candidate = temporary / path.name
        if is_folder:
            candidate.mkdir()
        yield candidate
        for file in candidate.iterdir() if is_folder else [candidate]:
            file.chmod(0o644)  # weights are made for their owner alone; whoever serves the model reads them too
            sync(file)
        sync(candidate)
        os.replace(candidate, path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
