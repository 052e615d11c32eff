"""Imports point down only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"ait": {"service", "training"}, "service": {"training"}, "training": {"service"}}
FLOORS = ("memory", "attention", "workspace", "associative_transformer")


def imports(path: Path, lazy: bool = True) -> Iterator[str]:
    """Modules that a file imports, absolute; without the ones inside functions unless `lazy`."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def python_files(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_downwards_only(package: str) -> None:
    for path in python_files(package):
        reached = {module.split(".")[0] for module in imports(path)}
        assert not reached & FORBIDDEN[package], path


def floor(module: str) -> int | None:
    parts = module.split(".")
    return FLOORS.index(parts[1]) if parts[0] == "ait" and len(parts) > 1 and parts[1] in FLOORS else None


@pytest.mark.parametrize("name", FLOORS)
def test_the_library_is_built_floor_on_floor(name: str) -> None:
    package = ROOT / "ait" / name
    for path in [package.with_suffix(".py")] if not package.is_dir() else python_files(f"ait/{name}"):
        for module in imports(path):
            level = floor(module)
            assert level is None or level < FLOORS.index(name) or (level == FLOORS.index(name) == 0), (path, module)


def test_the_library_needs_torch_and_timm_only() -> None:
    allowed = {"ait", "torch", "timm"} | sys.stdlib_module_names
    modules = (
        "attention.py",
        "interpret/attribution.py",
        "collectives.py",
        "interpret/embedding.py",
        "interpret/explain.py",
        "interpret/memory_report.py",
        "workspace.py",
        "associative_transformer.py",
    )
    for path in [*(ROOT / "ait" / name for name in modules), *python_files("ait/memory")]:
        assert {module.split(".")[0] for module in imports(path)} <= allowed, path


def test_the_front_does_not_load_torch() -> None:
    """It would take ten times the memory; models live in processes of their own."""
    script = "import sys, service.server.run; assert 'torch' not in sys.modules and 'timm' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
