"""Search spaces from TOML: mistakes are named by their key, and equivalent choices have one canonical choice."""

import copy
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.explore.space import carried_spaces, divisor, load_space, parse_space

GOOD = """
[design]
rows = [2, 3]
cols = [4]
load_width = [6, 8]
slots = [9]
windows = [2]
accumulators = [3]
requantizer_lanes = [2, 3, 4, 5]
index_coding = ["absolute", "delta"]
delta_bits = [3, 4]
weight_entries = "fitted"

[compression]
networks = ["other.onnx"]
prune = ["none", "2:4"]
criterion = ["second_order", "magnitude"]
weight_bits = [4, 8]
weight_code = ["linear", "ternary", "codebook:8"]

[compression.layers]
"block.*.conv" = ["none", "unstructured:0.5"]
"block.1.*" = ["none", "filter:0.25", "2:4"]
"""
TABLES = tomllib.loads(GOOD)


def refusal(change: dict[str, object], text: str | None = None) -> str:
    tables = copy.deepcopy(tomllib.loads(text or GOOD))
    for path, value in change.items():
        *above, key = path.split(".")
        at = tables
        for name in above:
            at = at[name]
        if value is None:
            del at[key]
        else:
            at[key] = value
    with pytest.raises(SkipstoneError) as caught:
        parse_space(tables, "x.toml")
    return str(caught.value)


def test_default_space_is_for_any_network():
    space = load_space()
    assert space.size == 4 * 4 * 4 * 2 * 3 * 3 * 3 * 6
    assert "network" not in space.parameters
    assert not space.layers


@pytest.mark.parametrize("name", list(carried_spaces()))
def test_carried_spaces_are_read(name):
    assert load_space(name).size > 1000


def test_parameters_are_the_keys_and_the_layers():
    space = parse_space(TABLES).for_layers(["stem", "block.0.conv", "block.1.conv", "block.1.shortcut"])
    parameters = space.parameters
    assert parameters["network"] == ("given", "other.onnx")
    assert parameters["weight_entries"] == ("fitted",)
    # The first pattern that matches counts, and layers without one have no parameter.
    assert {name: choices for name, choices in parameters.items() if name.startswith("prune:")} == {
        "prune:block.0.conv": ("none", "unstructured:0.5"),
        "prune:block.1.conv": ("none", "unstructured:0.5"),
        "prune:block.1.shortcut": ("none", "filter:0.25", "2:4"),
    }
    assert space.size == 2 * 2 * 4 * 2 * 2 * 2 * 2 * 2 * 2 * 3 * 2 * 2 * 3


def test_a_pattern_without_a_layer_is_refused():
    with pytest.raises(
        SkipstoneError, match=r"compression.layers 'block.1.\*' matches no layer .* it has block.0.conv"
    ):
        parse_space(TABLES).for_layers(["block.0.conv"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"design.colour": [1]}, "[design] unknown key 'colour'; it takes rows, cols"),
        ({"more": {}}, "unknown key 'more'; it takes description, design, compression"),
        ({"design.rows": None}, "[design] key 'rows' is missing"),
        ({"design": None}, "there is no [design]"),
        ({"design.slots": None}, "[design] needs either slots (words of a window) or window_depth (activations)"),
        ({"design.cols": 4}, "[design] cols must be a list of whole numbers from 1 to 1,024, not 4"),
        ({"design.rows": [0]}, "[design] rows must be a list of whole numbers from 1 to 256, not [0]"),
        ({"design.rows": [True]}, "[design] rows must be a list of whole numbers from 1 to 256, not [True]"),
        ({"design.rows": [4, 4]}, "[design] rows has a choice twice: [4, 4]"),
        ({"design.layers": ["all"]}, "[design] layers must be a list of whole numbers from 1 to 65,536, or 'fitted'"),
        (
            {"design.index_coding": ["short"]},
            "[design] index_coding must be a list of absolute or delta, not ['short']",
        ),
        ({"compression.prune": []}, "[compression] prune must be a list of texts, not []"),
        ({"compression.prune": ["half"]}, "[compression] prune has 'half': no pruning method 'half'"),
        ({"compression.weight_bits": [1]}, "[compression] weight_bits must be a list of whole numbers from 2 to 16"),
        ({"compression.weight_code": ["codebook:3"]}, "has 'codebook:3': weight_code codebook:N needs N from 4 to 256"),
        (
            {"compression.layers": {"a": ["global:0.5"]}},
            "[compression] layers 'a' has 'global:0.5', which shares out zeros",
        ),
        ({"compression.layers": ["none"]}, "[compression] layers must be a table of layers"),
        ({"description": 3}, "description must be text in quotes, not 3"),
    ],
)
def test_mistakes_are_named_by_key(change, message):
    error = refusal(change)
    assert error.startswith("x.toml: ")
    assert message in error


def test_files_that_are_no_space(tmp_path):
    with pytest.raises(
        SkipstoneError, match=r"no search space file 'nowhere', and no search space of that name .*default"
    ):
        load_space("nowhere")
    (tmp_path / "space.toml").write_text("[design")
    with pytest.raises(SkipstoneError, match="is not TOML"):
        load_space(tmp_path / "space.toml")


SPACE = parse_space(TABLES).for_layers(["block.0.conv", "block.1.conv", "block.1.shortcut"])
choices = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SPACE.parameters.items()})


@settings(max_examples=200)
@given(choices)
def test_canonical_choices_are_in_the_space_and_stay_the_same(choice):
    canonical = SPACE.canonical(choice)
    assert canonical.keys() == choice.keys()
    assert all(value in SPACE.parameters[name] for name, value in canonical.items())
    assert SPACE.canonical(canonical) == canonical
    # As many lanes as before, after both are lowered to a divisor.
    width = choice["load_width"]
    assert canonical["load_width"] == width
    assert divisor(width, canonical["requantizer_lanes"]) == divisor(width, choice["requantizer_lanes"])


def test_parameters_without_effect_have_a_fixed_choice():
    choice = {name: values[-1] for name, values in SPACE.parameters.items()}
    canonical = SPACE.canonical(choice)
    assert choice["network"] == "other.onnx"
    for name in ("prune", "criterion", "weight_bits", "weight_code", "prune:block.0.conv"):
        assert canonical[name] == SPACE.parameters[name][0]
    assert canonical["delta_bits"] == 4
    absolute = {**choice, "network": "given", "index_coding": "absolute"}
    assert SPACE.canonical(absolute) == {**absolute, "delta_bits": 3, "requantizer_lanes": 4}
    ternary = {**absolute, "weight_code": "ternary"}
    assert SPACE.canonical(ternary)["weight_bits"] == 4


def test_digests_depend_on_content_only():
    other = tomllib.loads(GOOD)
    other["design"] = dict(reversed(other["design"].items()))
    assert parse_space(other, "b").digest == parse_space(TABLES, "a").digest
    other["design"]["rows"] = [2]
    assert parse_space(other).digest != parse_space(TABLES).digest
