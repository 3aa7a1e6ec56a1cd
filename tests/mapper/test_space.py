"""Search spaces from TOML: what is wrong is named."""

import pytest

from mapper.errors import MappingError
from mapper.space import fitted_design, load_space, roomy_design

GOOD = """
[design]
rows = [2]
cols = [4]
load_width = [6]
slots = [9]
windows = [2]
accumulators = [3]
requantizer_lanes = [4]
"""


def test_default_space_is_large_and_valid():
    space = load_space(None)
    assert space.size == 4 * 4 * 4 * 2 * 3 * 3 * 3 * 6
    assert len(space.digest) == 12


def test_lanes_fall_to_a_divisor_of_the_load_width(tmp_path):
    (tmp_path / "space.toml").write_text(GOOD)
    space = load_space(tmp_path / "space.toml")
    design = roomy_design({key: choices[0] for key, choices in space.design.items()}, 8, 8)
    assert (design.load_width, design.requantizer_lanes, design.window_depth) == (6, 3, 54)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[design", "is not TOML"),
        (GOOD + "colour = [1]", "unknown design.colour; [design] takes rows, cols"),
        (GOOD + "[more]", "unknown more;"),
        (GOOD.replace("rows = [2]", ""), "[design] has no rows"),
        (GOOD.replace("[4]\nload", "4\nload"), "design.cols must be a list of positive integers, not 4"),
        (GOOD.replace("rows = [2]", "rows = [0]"), "design.rows must be a list of positive integers, not [0]"),
        (GOOD + "[compression]\nprune = []", "compression.prune must be a list of strings, not []"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(MappingError) as caught:
        load_space(tmp_path / "space.toml")
    assert message in str(caught.value)


def test_memories_are_cut_to_the_program():
    """Fitted memories hold the program, and half of any of them would not."""
    from mapper.compile import compile_network
    from tests.mapper.test_compile import residual

    choice = {
        "rows": 2,
        "cols": 4,
        "load_width": 2,
        "slots": 9,
        "windows": 2,
        "accumulators": 3,
        "requantizer_lanes": 2,
    }
    roomy = roomy_design(choice, 8, 8)
    network = residual()
    fitted = fitted_design(roomy, compile_network(network, roomy))
    compile_network(network, fitted)
    for parameter in ("weight_entries", "load_entries", "parameter_words", "activation_words"):
        with pytest.raises(MappingError):
            compile_network(network, fitted.replace(**{parameter: getattr(fitted, parameter) // 2}))
