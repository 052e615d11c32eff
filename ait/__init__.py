"""AiT: vision transformers with an explicit associative memory, as timm models.

Importing this package registers the ``ait_*`` models with timm.
"""

from ait.associative_transformer import AssociativeTransformer, TrainingOutput

__version__ = "0.1.0"

__all__ = ["AssociativeTransformer", "TrainingOutput", "__version__"]
