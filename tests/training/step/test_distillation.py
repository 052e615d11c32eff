"""A student learns a teacher's answers: classes matched by name, in every setting that a run has."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from timm.models import save_for_hf
from torch.nn import functional as F

from tests.support.models.training_models import SMALL_MODELS
from tests.support.processes.training_runs import MakeRecipe, assert_same_run
from training.data import Preprocessing
from training.errors import CheckpointError, RecipeError
from training.recipe.keys import DistilRecipe
from training.recipe.loading import parse_recipe
from training.run.trainer import train
from training.step.distillation import Teacher, distillation_losses, load_teacher

CLASSES = ("ant", "bee", "cat")
STUDENT = Preprocessing((3, 16, 16), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 1.0, "center")
CPU = torch.device("cpu")


def save_teacher(folder: Path, names: tuple[str, ...], size: int = 24) -> Any:
    torch.manual_seed(7)
    args = {**SMALL_MODELS["vit_tiny_patch16_224"], "img_size": size}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(names), **args)
    with torch.no_grad():
        model.head.weight.mul_(20)  # answers that differ
    save_for_hf(
        model, str(folder), model_config={"label_names": list(names)}, model_args=args, safe_serialization=True
    )
    return model.eval()


def teacher(folder: Path) -> Teacher:
    loaded = load_teacher(DistilRecipe(teacher=str(folder)), CLASSES, STUDENT, CPU)
    assert loaded is not None
    return loaded


def test_the_loss_is_zero_for_the_teachers_answers_and_grows_as_the_textbook_says() -> None:
    logits, wanted = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(distillation_losses(wanted, wanted, 3.0), torch.zeros(5))
    expected = (
        F.kl_div(F.log_softmax(logits / 3, dim=1), F.softmax(wanted / 3, dim=1), reduction="none").sum(dim=1) * 9
    )
    torch.testing.assert_close(distillation_losses(logits, wanted, 3.0), expected)


def test_a_teacher_sees_the_students_images_and_answers_in_the_students_order(tmp_path: Path) -> None:
    model = save_teacher(tmp_path, ("cat", "dog", "ant", "bee"), size=16)
    pixels = torch.rand(2, 3, 16, 16)

    def normalised(mean: Any, std: Any) -> torch.Tensor:
        return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)

    own = Preprocessing.of_model(model)
    expected = model(normalised(own.mean, own.std))[:, [2, 3, 0]]
    found = teacher(tmp_path)(normalised(STUDENT.mean, STUDENT.std))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_teacher_of_another_size_answers_no_images_too(tmp_path: Path) -> None:
    save_teacher(tmp_path, CLASSES, size=24)
    assert teacher(tmp_path)(torch.empty(0, 3, 16, 16)).shape == (0, 3)


def test_teachers_that_cannot_teach_are_refused(tmp_path: Path, recipe_values: dict[str, Any]) -> None:
    save_teacher(tmp_path / "other", ("ant", "dog", "emu"))
    with pytest.raises(
        RecipeError, match=r"does not know 2 of the 3 classes here \(bee, cat\); it knows 3 \(ant, dog"
    ):
        teacher(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"distil\.teacher: .* neither a folder nor a bundled model"):
        teacher(tmp_path / "nowhere")
    for changes, message in (({"loss": "bce"}, "loss=cross_entropy"), ({"method": "closed_form"}, "method=gradient")):
        with pytest.raises(RecipeError, match=message):
            parse_recipe({**recipe_values, **changes, "distil": {"teacher": "x"}})


def test_a_student_comes_to_answer_as_its_teacher(make_recipe: MakeRecipe, tmp_path: Path, quiet: Console) -> None:
    """The teacher calls ants bees and so on, and has all of the loss: labels alone would teach otherwise."""
    truth = train(make_recipe(output=str(tmp_path / "t"), optimizer={"lr": 0.01}, epochs=6, augment={}), console=quiet)
    assert truth.best_accuracy > 0.8
    import json

    config = json.loads((truth.checkpoint / "config.json").read_text())
    config["label_names"] = ["bee", "cat", "ant"]
    (truth.checkpoint / "config.json").write_text(json.dumps(config))
    recipe = make_recipe(
        model={"name": "test_resnet", "args": {}},
        distil={"teacher": str(truth.checkpoint), "weight": 1.0, "temperature": 1.0},
        optimizer={"name": "adamw", "lr": 2e-3},
        schedule={"warmup_epochs": 0},
        augment={"crop_padding": 0},
        precision="bf16",
        accumulate=2,
        ema_decay=None,
        epochs=4,
    )
    result = train(recipe, console=quiet)
    assert result.history[-1]["train_loss"] < 0.7 * result.history[0]["train_loss"]
    assert result.history[-1]["train_acc"] < 0.3


def test_a_resumed_student_equals_an_uninterrupted_one(
    make_recipe: MakeRecipe, tmp_path: Path, quiet: Console
) -> None:
    save_teacher(tmp_path / "teacher", CLASSES)
    distil = {"teacher": str(tmp_path / "teacher")}
    whole = make_recipe(distil=distil, epochs=2, accumulate=2, output=str(tmp_path / "whole"))
    train(whole, console=quiet)
    # The schedule is that of two epochs; the run is cut at the end of the first.
    part = make_recipe(distil=distil, epochs=2, accumulate=2, output=str(tmp_path / "part"))

    class Cut(Exception):
        pass

    def cut(_row: object) -> None:
        raise Cut

    with pytest.raises(Cut):
        train(part, console=quiet, after_epoch=cut)
    train(part, resume=True, console=quiet)
    assert_same_run(part.output, whole.output)
