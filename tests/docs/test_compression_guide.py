"""The guide to compression names every step, key and recipe, and the recipe that it shows is valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from skipstone.compress import keys, recipe
from skipstone.compress.keys import Training
from skipstone.compress.recipe import parse_recipe, recipe_names, step_kinds
from skipstone.mapper.results.compression import CompressionResult
from tests.docs.blocks import DOCS, blocks
from tests.skipstone.compress.small import small_place

PAGE = DOCS / "compression.md"
GUIDE = PAGE.read_text()


def row(step: str) -> str:
    match = re.search(rf"^\| `{step}` \|.*$", GUIDE, re.MULTILINE)
    assert match, f"docs/compression.md has no row for {step}"
    return match[0]


@pytest.mark.parametrize("step", step_kinds())
def test_every_step_and_key_is_in_the_table(step: str) -> None:
    kind = recipe.step_kinds()[step]
    text = row(step)
    general = set(Training.model_fields) if issubclass(kind, Training) else set()
    if "keys of `prune`" in text:
        general |= set(keys.Masked.model_fields)
    missing = [key for key in kind.model_fields if key != "do" and key not in general and f"`{key}`" not in text]
    # A key may stand with its value: `pattern = "2:4"`.
    missing = [key for key in missing if f"`{key} = " not in text]
    assert not missing


def test_training_keys_are_explained() -> None:
    paragraph = GUIDE[GUIDE.index("Training keys:") :].split("\n\n")[0]
    assert not [key for key in Training.model_fields if f"`{key}`" not in paragraph]


def test_the_recipe_in_the_guide_is_valid() -> None:
    (text,) = [block.text for block in blocks(PAGE) if block.language == "toml"]
    assert len(parse_recipe(tomllib.loads(text)).step) == 4


def test_criteria_and_codes_are_named() -> None:
    for name in (*keys.Criterion.__args__, *keys.Code.__args__):
        assert f"`{name}`" in GUIDE, name


def test_named_recipes_parse_and_say_what_they_do() -> None:
    for name in recipe_names():
        assert recipe.load_recipe(name).description, name


def test_the_metric_and_the_training_loop_in_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    (program,) = [block.text for block in blocks(PAGE) if block.language == "python" and "worst_class" in block.text]
    place = small_place(tmp_path)
    (place / "small.onnx").rename(place / "model.onnx")
    monkeypatch.chdir(place)
    namespace: dict[str, object] = {}
    exec(compile(program, str(PAGE), "exec"), namespace)
    result = CompressionResult.read(place / "out" / "own" / "compression.json")
    assert result.metric == "worst_class"
    assert result.accuracy is not None
    assert [step.do for step in result.steps] == ["prune_second_order", "fine_tune"]
