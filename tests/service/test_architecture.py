"""The service is built floor on floor: every module imports from floors below its own only, also inside functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"

# From the ground up. A package stands with everything in it, unless one of its own is named too. Rooms on the same
# floor do not know each other; within a package modules may import each other, but not in a circle.
FLOORS: list[set[str]] = [
    {"errors", "scores", "inference_protocol"},
    {"processes", "settings"},
    {"images", "batching", "auth", "observability", "repository"},
    {"model_process"},
    {"models"},
    {"engine"},
    {"memories"},
    {"http"},
    {"http.middleware", "http.v1", "http.v2"},
    {"app"},
    {"server", "ray_app", "healthcheck", "benchmark"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def module_name(path: Path) -> str:
    """Name a module without "service.": that of a package is the package's."""
    return ".".join(path.relative_to(SERVICE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_name(path): path for path in sorted(SERVICE.rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Modules of the service that a file imports anywhere in it, without "service."."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import; the others are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "service":
                # "from package import module" and "from module import name" look the same.
                found = next(
                    ".".join(parts[1:end]) for end in (len(parts), len(parts) - 1) if ".".join(parts[1:end]) in MODULES
                )
                if found:
                    yield found


def room_of(module: str) -> str:
    """Name the room of `FLOORS` that a module is in."""
    parts = module.split(".")
    return next(room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in FLOOR_OF)


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    for other in imported(MODULES[module]):
        below = room_of(other)
        assert below == room or FLOOR_OF[below] < FLOOR_OF[room], f"{module} ({room}) imports {other} ({below})"


def test_modules_import_each_other_in_no_circle() -> None:
    arrows = {module: set(imported(path)) - {module} for module, path in MODULES.items()}
    while free := [module for module, below in arrows.items() if not below & arrows.keys()]:
        for module in free:
            del arrows[module]
    assert not arrows, "these modules are in a circle, or stand on one"


def test_only_http_knows_status_codes() -> None:
    above = FLOOR_OF["http"]
    for module, path in MODULES.items():
        if module and FLOOR_OF[room_of(module)] < above:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = (
                        [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                    )
                    assert not {name.split(".")[0] for name in names} & {"fastapi", "http"}, module


@pytest.mark.parametrize("module", ["service.server.run", "service.server.worker", "service.healthcheck"])
def test_the_front_does_not_load_torch(module: str) -> None:
    script = f"import sys, {module}; assert not {{'torch', 'timm', 'ait'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True)
