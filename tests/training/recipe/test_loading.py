"""Recipes are typed, documented, and refuse what they do not know."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from training.errors import RecipeError
from training.recipe.loading import bundled_recipes, load_recipe, parse_recipe, recipe_help, recipe_keys


@pytest.fixture
def recipe_file(recipe_values: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_values))
    return path


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimzer.lr=1", "unknown key 'optimzer' (did you mean 'optimizer'?)"),
        ("optimizer.learning_rat=1", "unknown key 'optimizer.learning_rat'"),
        ("optimizer.weight_decy=1", "did you mean 'optimizer.weight_decay'?"),
        ("weight_decay=1", "did you mean 'optimizer.weight_decay'?"),
        ("epochs=many", "epochs: Input should be a valid integer, got 'many'"),
        ("epochs=1.5", "epochs"),
        ("epochs=true", "epochs"),
        ("epochs=0", "epochs: Input should be greater than 0"),
        ("optimizer.lr=true", "optimizer.lr: expected a number, not true or false"),
        ("optimizer.lr=.nan", "optimizer.lr"),
        ("augment.flip=1", "augment.flip"),
        ("precision=fp8", "precision"),
        ("data.source=imagenet", "data.source: Input should be 'folder', 'table', 'cifar10'"),
        ("data.root=null", "missing key 'data.root'"),
        ("data.std=[0.2,0,0.2]", "data.std.1: Input should be greater than 0"),
        ("data.std=[0.2,-1,0.2]", "data.std.1: Input should be greater than 0"),
        ("data.workers=-1", "data.workers: Input should be greater than or equal to 0"),
        ("data.cacheing=ram", "did you mean 'data.caching'?"),
        ("optimizer=adamw", "optimizer"),
        ("epochs.more=1", "'epochs' holds a single value"),
        ("epochs", "not of the form key=value"),
        ("epochs=[", "not YAML"),
    ],
)
def test_wrong_keys_and_values_are_refused_by_name(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe_file, [override])
    assert message in str(error.value)


def test_what_is_not_yaml_is_said_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("model: vit\nepochs: [1, 2\noutput: runs\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value) == f"{path}, line 3, column 7: this is not YAML: expected ',' or ']', but got ':'"
    path.write_bytes(b"model: \xff")
    with pytest.raises(RecipeError, match="is not YAML"):
        load_recipe(path)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe({"data": {"rot": "x"}, "epochs": "x"})
    for key in ("'data.rot'", "'data.root'", "'model'", "'output'", "epochs"):
        assert key in str(error.value)


def test_generated_data_needs_no_root(recipe_values: dict[str, Any]) -> None:
    recipe = parse_recipe({**recipe_values, "data": {"source": "triangle"}})
    assert recipe.data.root is None
    assert parse_recipe(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))) == recipe


def test_overrides_are_typed_as_yaml(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        [
            "optimizer.lr=3e-4",
            "epochs=7",
            "augment.flip=false",
            "ema_decay=null",
            "model.args={a: 1e-3, b: [x, 2]}",
        ],
    )
    assert recipe.optimizer.lr == 3e-4
    assert recipe.epochs == 7
    assert recipe.augment.flip is False
    assert recipe.ema_decay is None
    assert recipe.model.args == {"a": 1e-3, "b": ["x", 2]}


def test_override_reaches_into_free_mappings(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["model.args.depth=5", "optimizer.args.betas=[0.8, 0.9]"])
    assert recipe.model.args["depth"] == 5
    assert recipe.model.args["embed_dim"] == 16
    assert recipe.optimizer.args == {"betas": [0.8, 0.9]}


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_bundled_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).output == Path("runs") / name


def test_unknown_recipe_name_suggests_a_bundled_one() -> None:
    with pytest.raises(RecipeError, match="did you mean 'cifar10_cpu'"):
        load_recipe("cifar10_cpuu")


def test_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(RecipeError, match="mapping"):
        load_recipe(path)


def test_every_key_is_documented() -> None:
    keys = list(recipe_keys())
    assert {"data.root", "optimizer.lr", "augment.flip", "seed"} <= {name for name, *_ in keys}
    for name, kind, default, description in keys:
        assert description.endswith((".", ".)")), name
        assert kind, name
        assert default, name
        assert name in recipe_help()


def test_recipe_survives_its_own_yaml(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert parse_recipe(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))) == recipe


def test_shorthands_reach_their_sections(tmp_path: Path) -> None:
    recipe = load_recipe("cifar10_cpu", ["lr=0.5", "model=vit_tiny_patch16_224"])
    assert recipe.optimizer.lr == 0.5
    assert recipe.model.name == "vit_tiny_patch16_224"


@pytest.mark.parametrize("change", ["compile=true", "precision=fp16"])
def test_what_does_not_go_with_sharding_is_refused(change: str) -> None:
    with pytest.raises(RecipeError, match=rf"{change.split('=')[0]}.* does not go with sharding=full"):
        load_recipe("cifar10_cpu", ["sharding=full", change])
