"""Distillation: a trained model's answers as soft targets (Hinton et al., arXiv 1503.02531)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ait_lite.checkpoint import named_labels, read_config
from training.data import Preprocessing
from training.errors import RecipeError
from training.model.start import checkpoint_folder
from training.recipe.keys import DistilRecipe
from training.storage.model_folder import load_model

_NAMED_CLASSES = 5


class Teacher:
    """Answer a student's batches, as they were augmented for it.

    Args:
        model: A classifier; it is put into evaluation mode and moved to `device`, and never changed.
        columns: (classes,) int64, the teacher's label of each class of the student.
        student: What the student's inputs went through.
        device: Where the student is.
    """

    def __init__(self, model: nn.Module, columns: Tensor, student: Preprocessing, device: torch.device) -> None:
        self._model = model.eval().requires_grad_(False).to(device)
        self._columns = columns.to(device)
        own = Preprocessing.of_model(model)
        self._size = own.input_size[1:]

        def channels(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device).view(1, -1, 1, 1)

        # From the student's normalisation to the teacher's.
        self._scale = channels(student.std) / channels(own.std)
        self._shift = (channels(student.mean) - channels(own.mean)) / channels(own.std)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute the logits of the student's classes.

        Args:
            inputs: The student's, (B, C, H, W) float.

        Returns:
            (B, classes) float32.
        """
        if not len(inputs):  # a process's part of a last batch, which nothing resizes
            return inputs.new_zeros(0, len(self._columns), dtype=torch.float32)
        images = inputs * self._scale + self._shift
        if images.shape[2:] != self._size:
            images = F.interpolate(images, size=self._size, mode="bilinear", antialias=True)
        logits: Tensor = self._model(images)
        return logits.float()[:, self._columns]


def load_teacher(
    recipe: DistilRecipe, classes: Sequence[str], student: Preprocessing, device: torch.device
) -> Teacher | None:
    """Load the teacher of a recipe; None where it names none.

    Args:
        recipe: The section `distil` of a recipe.
        classes: The student's, by label; the teacher's are matched by name, and it may know others too.
        student: What the student's inputs go through.
        device: Where the student is.

    Raises:
        RecipeError: The teacher does not know a class of the student, or takes images of other channels.
        CheckpointError: There is no such checkpoint, or it is torn.
    """
    if recipe.teacher is None:
        return None
    folder = checkpoint_folder(recipe.teacher, "distil.teacher")
    if read_config(folder).get("multi_label"):
        raise RecipeError(
            f"distil.teacher {recipe.teacher} tells any number of classes an image; choose one that tells one"
        )
    model = load_model(folder)
    known = {name: label for label, name in enumerate(named_labels(getattr(model, "pretrained_cfg", None) or {}))}
    lacking = [name for name in classes if name not in known]
    if lacking:
        some = ", ".join(lacking[:_NAMED_CLASSES]) + (", …" if len(lacking) > _NAMED_CLASSES else "")
        has = ", ".join(list(known)[:_NAMED_CLASSES]) + (", …" if len(known) > _NAMED_CLASSES else "")
        raise RecipeError(
            f"distil.teacher {recipe.teacher} does not know {len(lacking)} of the {len(classes)} classes here "
            f"({some}); it knows {len(known)} ({has or 'without names'}): choose a teacher of these classes"
        )
    if Preprocessing.of_model(model).input_size[0] != student.input_size[0]:
        raise RecipeError(f"distil.teacher {recipe.teacher} takes images of other channels than the model")
    return Teacher(model, torch.tensor([known[name] for name in classes]), student, device)


def distillation_losses(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute how far each image's probabilities are from the teacher's: T^2 KL(teacher | student), at temperature T.

    The factor keeps the size of the gradients that of the cross-entropy's (arXiv 1503.02531, section 2.1).

    Args:
        logits: The student's, (B, classes) float32.
        teacher: The teacher's, (B, classes) float32.
        temperature: What both are divided by.

    Returns:
        (B,) float32, in nats.
    """
    found = (logits / temperature).log_softmax(dim=1)
    wanted = (teacher / temperature).log_softmax(dim=1)
    return F.kl_div(found, wanted, reduction="none", log_target=True).sum(dim=1) * temperature**2
