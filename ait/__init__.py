"""AiT: vision transformers with an explicit associative memory, as timm models.

Importing this package registers the ``ait_*`` models and their baselines with timm. What explains and exports models
is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

try:
    import ait.baselines
    import ait.latent
    import ait.variants
    import ait.vit.variants  # noqa: F401  timm knows the models of these four once they are imported
    from ait.associative_model import AssociativeModel, TrainingOutput
    from ait.associative_transformer import AssociativeTransformer
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in ("torch", "timm"):
        raise
    raise ModuleNotFoundError(
        f"ait's models need {missing}, which is not installed: pip install 'associative-transformer[models]'",
        name=missing,
    ) from None

if TYPE_CHECKING:
    from ait.classifier import Classifier, load
    from ait.interpret.embedding import embed
    from ait.interpret.explain import explain
    from ait.interpret.memory_report import memory_report
    from ait.pretrained import load_model
    from ait.vit.convert import from_vit

_LAZY: Final = {
    "Classifier": "ait.classifier",
    "load": "ait.classifier",
    "embed": "ait.interpret.embedding",
    "explain": "ait.interpret.explain",
    "from_vit": "ait.vit.convert",
    "memory_report": "ait.interpret.memory_report",
    "load_model": "ait.pretrained",
}

__all__ = [
    "AssociativeModel",
    "AssociativeTransformer",
    "Classifier",
    "TrainingOutput",
    "__version__",
    "embed",
    "explain",
    "from_vit",
    "load",
    "load_model",
    "memory_report",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("associative-transformer")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List everything, imported or not."""
    return sorted({*globals(), *__all__})
