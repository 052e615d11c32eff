"""Write a model as an ONNX file."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from ait.export.agreement import TOLERANCE, Export, ExportError, Predict, check_agreement
from ait.export.place import new_file
from ait.export.prepare import dynamic_batch, metadata, prepare, quiet, trace

# Protocol buffers, the format of ONNX files, end there.
_MOST_ONNX_BYTES: Final = 2**31


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
    eager, images = prepare(model, images, probabilities, temperature)
    if sum(tensor.nbytes for tensor in eager.state_dict().values()) >= _MOST_ONNX_BYTES:
        raise ExportError("an ONNX file holds at most 2 GiB, and the weights take more; export a .pt2 file instead.")
    about = metadata(model, probabilities, temperature)
    with new_file(Path(path)) as candidate:
        program = trace(eager, images)
        with quiet():
            converted = torch.onnx.export(
                program,
                input_names=["pixels"],
                output_names=[about["output"]],
                dynamic_shapes=dynamic_batch(),
                dynamo=True,
                verbose=False,
            )
        if converted is None:
            raise ExportError("torch.onnx gave no program.")
        for key, value in about.items():
            converted.model.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
        converted.save(candidate)
        agreement = check_agreement(eager, _onnxruntime(candidate), images, tolerance, "ONNX file")
    return Export(Path(path), Path(path).stat().st_size, agreement)


def _onnxruntime(path: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"pixels": images.numpy()})[0])

    return predict
