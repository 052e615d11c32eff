"""AiT: vision transformers with an explicit associative memory, as timm models.

Importing this package registers the ``ait_*`` models with timm.
"""

from importlib.metadata import version

from ait.associative_transformer import AssociativeTransformer, TrainingOutput

__version__ = version("associative-transformer")

__all__ = ["AssociativeTransformer", "TrainingOutput", "__version__"]
