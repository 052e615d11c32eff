"""The run's folder: what is kept in it, and what a kill leaves behind is cleared away."""

from pathlib import Path

import pytest

from training.errors import OutputError
from training.run.output.folder import RunFolder, is_better


def save(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "model").write_text(path.name)


def rows(*accuracies: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "val_acc": accuracy} for epoch, accuracy in enumerate(accuracies, start=1)]


def test_the_best_models_stay_and_others_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    history = rows(0.5, 0.7, 0.6, 0.4)
    for epoch in range(1, 5):
        folder.keep_model(save, history[:epoch], count=2)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"epoch-0002", "epoch-0003"}


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    save(tmp_path / "checkpoints" / ".epoch-0001-x1_y-2z")
    save(tmp_path / "checkpoints" / ".epoch-0002-previous")
    save(tmp_path / "checkpoints" / "epoch-0003")
    save(tmp_path / ".best-previous")
    RunFolder(tmp_path).create()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"epoch-0002", "epoch-0003"}
    assert (tmp_path / "checkpoints" / "epoch-0002" / "model").read_text() == ".epoch-0002-previous"
    assert [path.name for path in tmp_path.iterdir() if path.name != "checkpoints"] == ["best"]


def test_files_that_a_kill_left_half_written_are_cleared_away_and_others_stay(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "last", tmp_path / "best"):
        folder.mkdir(exist_ok=True)
        (folder / ".state.safetensors.123.tmp").write_text("half")
        (folder / ".notes").write_text("mine")
    RunFolder(tmp_path).create()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".notes"}
    assert len(list(tmp_path.rglob(".notes"))) == 3


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match="is not a folder"):
        RunFolder(tmp_path / "run").check(resume=True)


@pytest.mark.parametrize(
    ("row", "other", "better"),
    [
        ({"val_acc": 0.9, "val_loss": 2.0}, None, True),
        ({"train_loss": 1.0}, None, False),
        ({"val_acc": 0.9, "val_loss": 2.0}, {"val_acc": 0.8, "val_loss": 1.0}, True),
        ({"val_acc": 0.9, "val_loss": 0.2}, {"val_acc": 0.9, "val_loss": 0.3}, True),
        ({"val_acc": 0.9, "val_loss": 0.3}, {"val_acc": 0.9, "val_loss": 0.3}, False),
        ({"val_acc": 0.9, "val_loss": 0.4}, {"val_acc": 0.9, "val_loss": 0.3}, False),
        # The loss that counts is that of the weights that are kept, here the averaged ones.
        (
            {"val_acc": 0.7, "val_loss": 0.1, "ema_val_acc": 0.9, "ema_val_loss": 0.4},
            {"val_acc": 0.9, "val_loss": 0.3},
            False,
        ),
    ],
)
def test_of_equally_accurate_epochs_the_one_of_lower_loss_is_better(
    row: dict[str, float], other: dict[str, float] | None, better: bool
) -> None:
    assert is_better(row, other) is better
