"""Read recipes: YAML files, overrides, errors that name the key, and help.

A recipe is read with `load_recipe`; dotted overrides (``optimizer.lr=3e-4``) replace single keys. Unknown
and ill-typed keys are refused, with the nearest valid name.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from training.errors import RecipeError
from training.recipe.keys import Recipe, Section

# What people type most, and where it goes.
_SHORTHANDS = {"lr": ("optimizer", "lr"), "model": ("model", "name"), "workers": ("data", "workers")}


class _RecipeLoader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number, as in YAML 1.2, and not a string."""


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class RecipeKey(NamedTuple):
    """One key of a recipe, as its documentation shows it.

    Attributes:
        name: Dotted, such as ``optimizer.lr``.
        kind: Type of its values.
        default: ``default …``, or ``required``.
        description: What it means.
    """

    name: str
    kind: str
    default: str
    description: str


def bundled_recipes() -> dict[str, Path]:
    """Map the name of every recipe that comes with the package to its file."""
    folder = Path(str(resources.files("training") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(path_or_name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply overrides to it.

    Args:
        path_or_name: A YAML file, or the name of a bundled recipe.
        overrides: ``key=value`` with dotted keys; values are typed as YAML types them.

    Raises:
        RecipeError: The file is missing or not YAML, or a key is unknown or ill-typed.
    """
    values = _read_yaml(_find_recipe(path_or_name))
    for override in overrides:
        _apply_override(values, override)
    return parse_recipe(values)


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """Check the nested mapping of a recipe.

    Args:
        values: Keys to values, sections as mappings.

    Raises:
        RecipeError: A key is unknown, missing or ill-typed; the message names every such key.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = sorted(_explain(item) for item in error.errors())
        raise RecipeError("recipe refused:\n" + "\n".join(f"  {problem}" for problem in problems)) from None


def recipe_keys() -> Iterator[RecipeKey]:
    """Yield every recipe key, in the order of the recipe."""
    yield from _keys_of(Recipe, "")


def recipe_help() -> str:
    """Describe every recipe key, a paragraph each."""
    return "\n\n".join(f"{key.name} ({key.kind}; {key.default}): {key.description}" for key in recipe_keys())


def _find_recipe(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_file():
        return path
    bundled = bundled_recipes()
    if str(path_or_name) in bundled:
        return bundled[str(path_or_name)]
    hint = _nearest(str(path_or_name), bundled)
    raise RecipeError(
        f"no recipe file {str(path_or_name)!r} and no bundled recipe of that name{hint}; bundled: {', '.join(bundled)}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_RecipeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else path
        raise RecipeError(f"{place}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise RecipeError(f"override {override!r} is not of the form key=value")
    try:
        value = yaml.load(text, Loader=_RecipeLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"override {override!r}: the value is not YAML: {error}") from None
    names = list(_SHORTHANDS.get(key.strip(), names))
    for name in names[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"override {override!r}: {name!r} holds a single value, not further keys")
        values = inner
    values[names[-1]] = value


def _section_of(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _keys_of(section: type[Section], prefix: str) -> Iterator[RecipeKey]:
    for name, field in section.model_fields.items():
        inner = _section_of(field)
        if inner is not None:
            yield from _keys_of(inner, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)}"
        yield RecipeKey(f"{prefix}{name}", _type_name(field.annotation), default, field.description or "")


def _type_name(kind: Any) -> str:
    if kind is type(None):
        return "null"
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return "|".join(str(value).lower() if isinstance(value, bool) else value for value in get_args(kind))
    if get_origin(kind) in (tuple, list):
        return "list of " + _type_name(get_args(kind)[0])
    if get_origin(kind) is dict:
        return "mapping"
    if get_args(kind):
        return " or ".join(_type_name(inner) for inner in get_args(kind))
    return {"str": "text", "Path": "path", "int": "integer", "float": "number", "bool": "true|false"}.get(
        getattr(kind, "__name__", str(kind)), str(kind)
    )


def _explain(item: Any) -> str:
    location: Sequence[Any] = item["loc"]
    name = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        return f"unknown key {name!r}{_nearest_key(location)}"
    if item["type"] == "missing":
        return f"missing key {name!r}"
    message = item["msg"].removeprefix("Value error, ")
    if isinstance(item["input"], Mapping):  # keys that contradict each other; the message names them
        return f"{name}: {message}" if name else message
    return f"{name}: {message}, got {item['input']!r}"


def _nearest_key(location: Sequence[Any]) -> str:
    """Suggest a key: of the right name in another section, else the nearest beside the one given."""
    section: type[Section] = Recipe
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        inner = _section_of(field) if field is not None else None
        if inner is None:
            return ""
        section = inner
    elsewhere = {key.name.rpartition(".")[2]: key.name for key in recipe_keys()}
    last = str(location[-1])
    if last in elsewhere:
        return f" (did you mean {elsewhere[last]!r}?)"
    prefix = "".join(f"{part}." for part in location[:-1])
    found = difflib.get_close_matches(last, section.model_fields, n=1)
    if found:
        return f" (did you mean {prefix + found[0]!r}?)"
    found = difflib.get_close_matches(last, elsewhere, n=1)
    return f" (did you mean {elsewhere[found[0]]!r}?)" if found else ""


def _nearest(wanted: str, valid: Iterable[str]) -> str:
    found = difflib.get_close_matches(wanted, list(valid), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
