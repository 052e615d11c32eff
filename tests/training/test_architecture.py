"""The packages of the trainer stand on floors, and import from floors below only."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up. Packages of one floor do not know each other.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "seeds", "sharding"}),
    frozenset({"recipe", "storage"}),
    frozenset({"data", "model"}),
    frozenset({"step"}),
    frozenset({"evaluation"}),
    frozenset({"run", "teaching"}),
    frozenset({"audit", "benchmark", "experiments", "tuning"}),
    frozenset({"__main__"}),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}

# Within these packages too, modules stand on floors; a name covers a module or a folder.
INSIDE: dict[str, tuple[frozenset[str], ...]] = {
    "recipe": (
        frozenset({"section"}),
        frozenset({"augment", "data", "model", "optimizer"}),
        frozenset({"update"}),
        frozenset({"keys"}),
        frozenset({"loading"}),
    ),
    "model": (
        frozenset({"freezing", "memory_format", "mimetic", "plain_attention", "ridge_head", "start", "whitening"}),
        frozenset({"fine_tuning"}),
        frozenset({"learner"}),
    ),
    "storage": (frozenset({"history", "model_folder", "state_file"}),),
    "step": (
        frozenset({"average", "distillation", "loss", "optimiser"}),
        frozenset({"learned"}),
        frozenset({"update"}),
        frozenset({"training_step"}),
    ),
    "evaluation": (
        frozenset({"backbone", "calibration", "memory_health", "scoring"}),
        frozenset({"exemplars", "features", "metrics", "multi_label"}),
        frozenset({"report"}),
        frozenset({"evaluate"}),
        frozenset({"annotate", "causal", "comparison"}),
    ),
    "tuning": (frozenset({"ranges"}), frozenset({"study"})),
    "run": (
        frozenset({"accelerator", "images", "interruption", "plan", "progress"}),
        frozenset({"head", "output", "validation"}),
        frozenset({"finiteness", "input_size"}),
        frozenset({"preparation"}),
        frozenset({"closed_form", "rate_sweep"}),
        frozenset({"trainer"}),
    ),
}


def imported(path: Path) -> Iterator[str]:
    """Modules of the trainer that a file imports anywhere, inside functions too, without ``training.``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.partition(".")[2] for name in names if name.startswith("training."))


def modules(folder: Path) -> dict[str, list[Path]]:
    """Python files under a folder, by the name of the module or package directly in it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.py")):
        if path.parent != folder or path.name != "__init__.py":
            found.setdefault(path.relative_to(folder).parts[0].removesuffix(".py"), []).append(path)
    return found


def test_every_package_has_a_floor() -> None:
    assert set(modules(ROOT / "training")) == set(LEVEL)


@pytest.mark.parametrize("name", sorted(LEVEL))
def test_a_package_imports_from_below_only(name: str) -> None:
    for path in modules(ROOT / "training")[name]:
        for module in imported(path):
            other = module.split(".")[0]
            assert other == name or LEVEL[other] < LEVEL[name], f"{path} imports training.{module}"


@pytest.mark.parametrize("package", sorted(INSIDE))
def test_within_a_package_too(package: str) -> None:
    level = {name: height for height, names in enumerate(INSIDE[package]) for name in names}
    found = modules(ROOT / "training" / package)
    assert set(found) == set(level)
    for name, paths in found.items():
        for path in paths:
            inner = (module.split(".")[1] for module in imported(path) if module.startswith(f"{package}."))
            for other in inner:
                assert other == name or level[other] < level[name], f"{path} imports training.{package}.{other}"


def test_only_runs_know_the_whole_recipe() -> None:
    """Everything below is handed its section."""
    for name, level in LEVEL.items():
        if LEVEL["recipe"] < level < LEVEL["run"]:
            for path in modules(ROOT / "training")[name]:
                assert "recipe.keys.Recipe" not in imported(path), path
