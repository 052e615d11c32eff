"""Baselines of the Associative Transformer's tables, each after its own paper.

Importing ``ait`` registers them with timm: ``timm.create_model("set_transformer_patch4_32", num_classes=10)``.
"""

from ait.baselines.ablations import AblatedAiT
from ait.baselines.brims import BRIMs
from ait.baselines.coordination import Coordination
from ait.baselines.luna import Luna
from ait.baselines.perceiver import Perceiver
from ait.baselines.set_transformer import SetTransformer
from ait.baselines.variants import default_cfgs

__all__ = ["AblatedAiT", "BRIMs", "Coordination", "Luna", "Perceiver", "SetTransformer", "default_cfgs"]
