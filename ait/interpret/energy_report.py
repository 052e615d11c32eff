"""The energy of every patch on its way through the layers, and which layer's memory it is owed to.

All layers' memories together have the energy ``E_glob(x) = -log sum_t exp(-E_t(x))`` (arXiv 2405.08707), and the
responsibility of layer t for a point x is ``softmax_t(-E_t(x))``. It is evaluated at what each patch asks for in each
block, so that a patch has one energy per block, and shares of all layers in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ait.associative_model import AssociativeModel
from ait.interpret.memory_report import block_energy, trace_batches
from ait.memory.global_energy import global_energy, responsibilities


@dataclass(frozen=True)
class LayerEnergies:
    """Energies of B images of N patches in a model of L blocks.

    Attributes:
        energy: Global energy of each patch's query in each block, shape (L, B, N).
        responsibilities: Share of each layer's memory in it, shape (L, B, N, L); they sum to one over the last.
    """

    energy: Tensor
    responsibilities: Tensor


@torch.no_grad()
def energy_report(model: AssociativeModel, images: Tensor, batch_size: int = 256) -> LayerEnergies:
    """Follow the energy of every patch through the layers.

    The model is read in evaluation mode and left in the mode it had; its memory is not written.

    Args:
        model: An AiT model.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        batch_size: Images run at once.

    Returns:
        Energies and responsibilities, on the CPU.

    Raises:
        TypeError: If the model has no associative memory.
    """
    parts = [layer_energies(model, trace.queries) for trace in trace_batches(model, images, batch_size)]
    return LayerEnergies(
        torch.cat([part.energy for part in parts], dim=1).cpu(),
        torch.cat([part.responsibilities for part in parts], dim=1).cpu(),
    )


def layer_energies(model: AssociativeModel, queries: Sequence[Tensor]) -> LayerEnergies:
    """Evaluate the energies of all layers' memories at given queries.

    Args:
        model: An AiT model of L blocks.
        queries: What each block's patches ask for, L tensors of shape (B, N, E), float32.
    """
    points = torch.stack(list(queries))  # (L, B, N, E)
    energies = [block_energy(block, points) for block in model.associative_blocks()]
    stacked = torch.stack(energies, dim=-1)  # (L, B, N, L)
    return LayerEnergies(global_energy(stacked), responsibilities(stacked))
