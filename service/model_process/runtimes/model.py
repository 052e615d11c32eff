"""What a loaded model does, whatever it runs in."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from service.model_process.mixed_batch import MixedBatch


class Model(Protocol):
    """A model in one runtime and precision.

    Attributes:
        runtime: ``torch``, ``onnxruntime`` or ``openvino``.
        precision: ``fp32``, ``bf16`` or ``int8``.
        num_classes: Numbers in a row of logits.
        data_config: What `timm.data.resolve_model_data_config` says, with statistics one a channel.
        piece: Inputs that are computed at once; batches of more are fastest in multiples of it.
    """

    runtime: str
    precision: str
    num_classes: int
    data_config: dict[str, Any]
    piece: int

    def logits(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute logits of B inputs: float32 (B, classes).

        Args:
            batch: The inputs.
            threads: To be used, where the runtime lets each call choose; 0 leaves that as it is.
        """

    def features(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute the vectors of `ait.interpret.embedding` of B inputs: float32 (B, F)."""
