"""Check a model that timm has loaded: it says nothing of a head that it has left out, nor of numbers that are none."""

from torch import nn

from ait_lite.checkpoint import CheckpointError


def check_loaded(model: nn.Module, *, own_head: bool = True) -> None:
    """Refuse a loaded model whose answers would mean nothing.

    Args:
        model: As timm has made it, with its weights.
        own_head: Whether the head is to be that of the checkpoint, and not a new one.

    Raises:
        CheckpointError: The numbers of classes in the configuration contradict each other, for which timm leaves the
            head random; or a weight is not finite.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    said, made = config.get("num_classes"), getattr(model, "num_classes", None)
    if own_head and made and said is not None and said != made:
        raise CheckpointError(
            f"its config.json says {said} classes in num_classes and {made} in model_args, so that its head would be "
            "left random: write the number that the weights have into both"
        )
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        # A buffer may be a mask, whose infinity is meant.
        if value.isnan().any() or (isinstance(value, nn.Parameter) and not value.isfinite().all()):
            raise CheckpointError(f"{name} holds numbers that are not finite: copy or train it again")
