"""Run a model in torch, on the processors or on an accelerator."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor

import ait  # noqa: F401  registers the architectures
from ait.interpret.embedding import embed
from ait.preprocessing import data_config_of
from service.model_process.mixed_batch import MixedBatch
from service.repository.folders import ModelFolder


class TorchModel:
    """A timm model; see `service.model_process.runtimes.model.Model`.

    Attributes:
        module: The model itself.
        device: Where it is.
        data_config: What `ait.preprocessing.data_config_of` says.
    """

    runtime = "torch"
    piece = 1

    def __init__(self, module: Any, device: torch.device, data_config: dict[str, Any], max_batch: int) -> None:
        """Take a model in evaluation mode; at most `max_batch` inputs are run at once."""
        self.module, self.device, self.data_config = module, device, data_config
        self.precision = "fp32"
        self.num_classes: int = module.num_classes
        self._max_batch = max_batch
        self._dtype = torch.float32
        self._mean, self._std = (
            torch.tensor(data_config[name], device=device).view(-1, 1, 1) for name in ("mean", "std")
        )

    @classmethod
    def load(cls, folder: ModelFolder, device: str, max_batch: int) -> TorchModel:
        """Load a folder's weights; what damaged files make timm, safetensors or torch raise is raised."""
        place = torch.device(_pick_device(device))
        module: Any = timm.create_model(f"local-dir:{folder.path}", pretrained=True)
        module = module.to(place).eval()
        return cls(module, place, data_config_of(module), max_batch)

    def in_bf16(self) -> TorchModel:
        """Make a copy whose weights and arithmetic are bf16."""
        other = TorchModel(
            copy.deepcopy(self.module).to(torch.bfloat16), self.device, self.data_config, self._max_batch
        )
        other.precision, other._dtype = "bf16", torch.bfloat16
        return other

    def assemble(self, batch: MixedBatch) -> Tensor:
        """Put a batch together on the device: (B, C, H, W), float32, normalised."""
        tensors = [torch.from_numpy(part).to(self.device) for part in (batch.images, batch.pixels) if part is not None]
        if batch.images is not None:  # normalised where the model is: bytes are a quarter of what floats are
            tensors[0] = tensors[0].to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        if len(tensors) == 1:
            return tensors[0]
        taken = set(batch.pixel_places)
        others = [place for place in range(len(tensors[0]) + len(tensors[1])) if place not in taken]
        whole = tensors[0].new_empty(len(others) + len(taken), *tensors[0].shape[1:])
        whole[others], whole[batch.pixel_places] = tensors
        return whole

    @torch.inference_mode()
    def logits(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute logits of B inputs: float32 (B, classes)."""
        return self._joined([self.module(part).float() for part in self._parts(batch, threads)])

    @torch.inference_mode()
    def features(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute features of B inputs: float32 (B, F)."""
        return self._joined([embed(self.module, part) for part in self._parts(batch, threads)])

    def _parts(self, batch: MixedBatch, threads: int) -> tuple[Tensor, ...]:
        if threads and threads != torch.get_num_threads():
            torch.set_num_threads(threads)  # of this thread's operations
        return torch.split(self.assemble(batch).to(self._dtype), self._max_batch)

    def _joined(self, parts: list[Tensor]) -> np.ndarray:
        whole: np.ndarray = torch.cat(parts).cpu().numpy()
        return whole


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
