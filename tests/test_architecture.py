"""Imports point down only, between packages and floors of the library; and no folder is crowded."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent

# Modules in one folder; more are no longer found by their names.
MOST_MODULES: Final = 13

# What each package may import of the project, besides itself.
BELOW: Final = {
    "ait_lite": set(),
    "ait": {"ait_lite"},
    "service": {"ait", "ait_lite"},
    "training": {"ait", "ait_lite"},
    "ait_cli": {"ait", "ait_lite", "service", "training"},
}
# `python -m` runs a command: these two files stand above the command, not below it with the rest of their packages.
ENTRY_POINTS: Final = {"service/__main__.py", "training/__main__.py"}

# Floors of the library, the lowest first. Modules of one floor import each other only inside one package.
LIBRARY: Final = (
    {"collectives", "preprocessing"},
    {"memory"},
    {"attention", "latent", "self_attention"},
    {"workspace"},
    {"block"},
    {"associative_model"},
    {"associative_transformer", "vit"},
    {"weights"},
    {"baselines", "variants"},
    {"pretrained"},
    {"interpret"},
    {"export"},
    {"benchmark"},
    {"classifier"},
    {"file_prediction"},
    {"file_prediction_benchmark"},
)


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, by absolute names, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def python_files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def distributions(path: Path) -> set[str]:
    """Top-level names of what a file imports."""
    return {module.partition(".")[0] for module in imports(path)}


@pytest.mark.parametrize("package", BELOW)
def test_packages_import_downwards_only(package: str) -> None:
    for path in python_files(package):
        allowed = BELOW[package] | {package}
        if path.relative_to(ROOT).as_posix() in ENTRY_POINTS:
            allowed = {"ait_cli"}
        assert not distributions(path) & BELOW.keys() - allowed, path


@pytest.mark.parametrize("package", BELOW)
def test_no_folder_holds_more_modules_than_one_can_survey(package: str) -> None:
    modules = Counter(path.parent for path in python_files(package) if path.name != "__init__.py")
    crowded = {folder.relative_to(ROOT).as_posix(): count for folder, count in modules.items() if count > MOST_MODULES}
    assert not crowded, "group these modules into packages, each with a docstring that says what it holds"


def test_the_ground_floor_needs_few_and_small_libraries() -> None:
    for path in python_files("ait_lite"):
        allowed = {"ait_lite", "numpy", "PIL", "platformdirs", "safetensors", "simplejpeg"} | sys.stdlib_module_names
        if path.stem.endswith("_graph"):  # where an inference library is, and nowhere else
            allowed |= {path.stem.removesuffix("_graph")}
        assert distributions(path) <= allowed, path


def floor(part: str) -> int | None:
    """Floor of a module or package of the library; None for the package itself, which only gathers names."""
    return next((level for level, parts in enumerate(LIBRARY) if part in parts), None)


def library_parts() -> list[str]:
    """Modules and packages directly in the library."""
    paths = [path for path in (ROOT / "ait").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return sorted(path.stem for path in paths if not path.stem.startswith("__"))


@pytest.mark.parametrize("part", library_parts())
def test_the_library_is_built_floor_on_floor(part: str) -> None:
    level = floor(part)
    assert level is not None, f"ait/{part} has no floor: add it to LIBRARY"
    package = ROOT / "ait" / part
    for path in python_files(f"ait/{part}") if package.is_dir() else [package.with_suffix(".py")]:
        for module in imports(path):
            names = module.split(".")
            if names[0] == "ait" and len(names) > 1 and names[1] != part:
                reached = floor(names[1])
                # A class that the package itself offers, by `from ait import …`, belongs to the model.
                reached = floor("associative_transformer") if reached is None else reached
                assert reached is not None
                assert reached < level, (path, module)


def test_the_library_needs_torch_and_timm_only() -> None:
    """Save where it reads, draws and writes files, and selects the largest of many numbers."""
    others = {
        "attention.py",
        "classifier.py",
        "file_prediction_benchmark.py",
        "interpret/draw.py",
        "interpret/draw_keys.py",
        "interpret/exemplars.py",
    }
    for path in python_files("ait"):
        name = path.relative_to(ROOT / "ait").as_posix()
        if name not in others and not name.startswith(("benchmark/", "export/", "pretrained/")):
            assert distributions(path) <= {"ait", "ait_lite", "torch", "timm"} | sys.stdlib_module_names, path


@pytest.mark.parametrize("module", ["ait_lite.checkpoint", "ait_cli.main", "service.server.run"])
def test_the_front_does_not_load_torch(module: str) -> None:
    """It would take ten times the memory; models live in processes of their own."""
    script = f"import sys, {module}; assert not {{'ait', 'torch', 'timm'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True)
