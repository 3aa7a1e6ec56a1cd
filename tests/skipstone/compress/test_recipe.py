"""Recipes as TOML: what is accepted, and one message for every mistake that says where it is and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

import skipstone
from skipstone.compress.recipe import load_recipe, parse_recipe, recipe_names, step_kinds, with_seed
from skipstone.compress.steps import REGISTRY
from skipstone.errors import SkipstoneError

BENCHMARKS = Path(__file__).parents[3] / "benchmarks" / "recipes"


@pytest.mark.parametrize("path", [*recipe_names().values(), *BENCHMARKS.glob("*.toml")], ids=lambda path: path.stem)
def test_every_carried_recipe_is_read(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.step


def test_every_step_has_a_function():
    assert {kind.model_fields["do"].annotation.__args__[0] for kind in REGISTRY} == set(step_kinds())


PRUNE = {"do": "prune"}
MISTAKES = [
    ({**PRUNE, "amount": "0.5"}, "step 1 (prune): amount must be a number, not '0.5'"),
    ({**PRUNE, "amount": True}, "step 1 (prune): amount must be a number, not True"),
    ({**PRUNE, "amount": 1}, "step 1 (prune): amount must be below 1, not 1"),
    ({**PRUNE, "amount": -0.1}, "step 1 (prune): amount must be at least 0, not -0.1"),
    ({**PRUNE, "amuont": 0.5}, "step 1 (prune): unknown key 'amuont' (do you mean 'amount'?); it takes granularity"),
    ({**PRUNE}, "step 1 (prune): say how much is pruned"),
    ({**PRUNE, "granularity": "nm"}, "step 1 (prune): pattern (as '2:4') goes with granularity = 'nm'"),
    ({**PRUNE, "pattern": "2:4"}, "step 1 (prune): pattern (as '2:4') goes with granularity = 'nm'"),
    ({**PRUNE, "granularity": "nm", "pattern": "5:4"}, "step 1 (prune): pattern must be N:M with N from 1 to M"),
    ({**PRUNE, "granularity": "nm", "pattern": "2-4"}, "step 1 (prune): pattern must be N:M with N from 1 to M"),
    ({**PRUNE, "granularity": "nm", "pattern": "2:4", "amount": 0.5}, "step 1 (prune): N:M has neither an amount"),
    ({**PRUNE, "amount": 0.5, "block": [4, 1]}, "step 1 (prune): block (as [4, 1]) goes with granularity = 'block'"),
    ({**PRUNE, "amount": 0.5, "granularity": "block", "block": [4]}, "step 1 (prune): block: too few values"),
    ({**PRUNE, "amount": 0.5, "granularity": "block", "block": [4, 0]}, "block 2 must be at least 1, not 0"),
    ({**PRUNE, "amount": 0.5, "granularity": "row"}, "granularity must be 'weight', 'nm', 'block'"),
    ({**PRUNE, "amount": 0.5, "criterion": "apoz"}, "criterion 'apoz' can't score granularity weight; it takes filter"),
    ({**PRUNE, "amount": 0.5, "skip": "a"}, "step 1 (prune): skip must be a list, as [1, 2], not 'a'"),
    ({**PRUNE, "amounts": {"a": 2}}, "step 1 (prune): amounts of 'a' must be below 1, not 2"),
    ({"do": "fine_tune", "epochs": 1.0}, "step 1 (fine_tune): epochs must be a whole number, not 1.0"),
    ({"do": "fine_tune", "epochs": 0}, "step 1 (fine_tune): epochs must be at least 1, not 0"),
    ({"do": "fine_tune", "flip": 1}, "step 1 (fine_tune): flip must be true or false, not 1"),
    ({"do": "fine_tune", "learning_rate": float("nan")}, "learning_rate must be a finite number, not nan"),
    ({"do": "fine_tune", "learning_rate": float("inf")}, "learning_rate must be a finite number, not inf"),
    ({"do": "fine_tune", "granularity": "filter"}, "granularity and block are those of regularizer = 'group_lasso'"),
    ({"do": "gradual_prune", "granularity": "nm", "pattern": "2:4"}, "(gradual_prune): gradual_prune prunes ever more"),
    ({"do": "gradual_prune", "amount": 0.5, "criterion": "taylor"}, "has no data for criterion 'taylor'"),
    ({"do": "iterative_prune", "amounts": {"a": 0.5}}, "so it takes amount, and no pattern or amounts"),
    ({"do": "lottery_ticket", "amount": 0.5, "distillation": "teacher"}, "leave distillation out"),
    ({"do": "prune_second_order"}, "step 1 (prune_second_order): give either amount (a share above 0) or pattern"),
    ({"do": "prune_second_order", "pattern": "2:4", "allocation": "lamp"}, "allocation = 'lamp' goes with amount"),
    ({"do": "remove_filters"}, "step 1 (remove_filters): give either macs or amount"),
    ({"do": "remove_filters", "macs": 0.5, "amount": 0.5}, "give either macs or amount"),
    ({"do": "remove_filters", "macs": 0.5, "criterion": "lamp"}, "criterion 'lamp' can't score granularity filter"),
    ({"do": "remove_blocks"}, "step 1 (remove_blocks): give either blocks or amount"),
    ({"do": "cycle_aware_prune"}, "step 1 (cycle_aware_prune): key 'amount' is missing"),
    ({"do": "quantize", "weight_bits": 1}, "step 1 (quantize): weight_bits must be at least 2, not 1"),
    ({"do": "quantize", "calibration": "max"}, "no calibration method 'max'; the methods are minmax, percentile:P"),
    ({"do": "quantize", "calibration": "percentile:7"}, "the percentile must be above 50 and at most 100, not 7"),
    ({"do": "quantize", "weight_code": "additive_power_of_two"}, "weight_bits must be 3, 5 or 7"),
    ({"do": "quantize", "weight_code": "power_of_two"}, "weight_bits must be 2 to 5"),
    ({"do": "quantize", "weight_code": "ternary", "rounding": "adaptive"}, "rounding is for weight_code = 'linear'"),
    ({"do": "quantize", "weights": "per_tensor", "bias_correction": True}, "leave it out with weights = 'per_tensor'"),
    ({"do": "quantize", "weight_bits": 9, "rounding": "adaptive"}, "rounding = 'adaptive' takes weight_bits up to 8"),
    ({"do": "quantize", "weight_bits": 3, "mean_bits": 4.0}, "mean_bits can't be over weight_bits, 3"),
    ({"do": "quantization_aware_training", "weight_code": "codebook", "estimator": "learned_step"}, "no step to learn"),
    ({"do": "factorize", "method": "tucker", "ranks": {"a": [1]}}, "ranks of 'a' must be [input rank, output rank]"),
    ({"do": "factorize", "method": "svd", "ranks": {"a": []}}, "ranks of 'a' must be a list of at least 1, not []"),
    ({"do": "prunes"}, "step 1: there is no step 'prunes' (do you mean 'prune'?); the steps are prune, prune_second_order"),
    ({"amount": 0.5}, "step 1: it has no key 'do', which says what the step does: prune,"),
    (3, "step 1: it must be a table of keys, not 3"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_names_the_file_and_the_step(step, message):
    with pytest.raises(SkipstoneError) as error:
        parse_recipe({"step": [step]}, "r.toml")
    assert str(error.value).startswith("r.toml: step 1")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_in_the_second_names_step_2():
    with pytest.raises(SkipstoneError, match=r"^r: step 2 \(equalize\): unknown key 'x'; it takes no keys$"):
        parse_recipe({"step": [{"do": "quantize"}, {"do": "equalize", "x": 1}]}, "r")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no [[step]]"),
        ("step = []", "there is no [[step]]"),
        ("[step]\ndo = 'quantize'", "step must be written as [[step]], each with its keys below"),
        (
            "nane = 'x'\n[[step]]\ndo = 'quantize'",
            "unknown key 'nane' (do you mean 'name'?); it takes name, description, seed, held_back, step",
        ),
        ("seed = -1\n[[step]]\ndo = 'quantize'", "seed must be at least 0, not -1"),
        ("seed = 4294967296\n[[step]]\ndo = 'quantize'", "seed must be below 4294967296, not"),
        ("[[step]\ndo = 'quantize'", "r.toml is not TOML: "),
        ("a = 1\na = 2", "r.toml is not TOML: "),
    ],
)
def test_a_mistake_in_a_file_names_its_path(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(SkipstoneError) as error:
        load_recipe(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_files_that_are_no_recipes_are_refused(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe")
    for path, message in (
        (tmp_path / "r.toml", "is not text"),
        (tmp_path, "can't read"),
        (tmp_path / "no", "no recipe file"),
    ):
        with pytest.raises(SkipstoneError, match=message):
            load_recipe(path)
    with pytest.raises(SkipstoneError, match=r"no recipe of that name \(there are: auto, .*int8.*\)"):
        load_recipe("int-8")


def test_another_seed_changes_nothing_else():
    recipe = load_recipe("unstructured-80")
    changed = with_seed(recipe, 7)
    assert changed.seed == 7
    assert changed.model_copy(update={"seed": recipe.seed}) == recipe
    assert with_seed(recipe, None) is recipe
    with pytest.raises(SkipstoneError, match="seed must be below"):
        with_seed(recipe, 1 << 40)


def test_integers_are_accepted_as_shares_and_lists_as_pairs():
    step = parse_recipe(
        {"step": [{"do": "fine_tune", "weight_decay": 0}, {**PRUNE, "amount": 0.5, "skip": ["a"]}]}
    ).step
    assert step[0].weight_decay == 0
    assert step[1].skip == ("a",)


def test_public_names_are_those_of_their_modules():
    from skipstone.compress import auto, recipe, run, sensitivity

    assert skipstone.compress_network is run.compress
    assert skipstone.load_recipe is recipe.load_recipe
    assert skipstone.parse_recipe is recipe.parse_recipe
    assert skipstone.auto is auto.auto
    assert skipstone.sensitivity is sensitivity.run_sensitivity
    assert skipstone.load_dataset.__module__ == "skipstone.models.data.datasets"
    assert all(getattr(skipstone, name) is not None for name in skipstone.__all__)
