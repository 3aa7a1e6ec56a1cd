"""A user's mistake is one line and exit code 2; for a memory that is too small the line names the option that enlarges it."""

from __future__ import annotations

import inspect

import pytest
import typer

from skipstone.cli.characterize import characterize_command
from skipstone.cli.console import COMMAND_NAMES, errors, option_of
from skipstone.cli.explore import explore_command
from skipstone.cli.trace import trace_command
from skipstone.errors import DesignError, MappingError, SkipstoneError
from skipstone.mapper.lowering.memory_fit import MEMORIES

HINT = "; --fit-memories enlarges the memories to what the network needs"


def printed(capsys: pytest.CaptureFixture[str], error: Exception, fit_memories: bool | None = None) -> str:
    with pytest.raises(typer.Exit) as caught, errors({} if fit_memories is None else {"fit_memories": fit_memories}):
        raise error
    assert caught.value.exit_code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_memory_too_small_gets_the_hint_only_where_the_option_exists_and_is_off(capsys, memory):
    error = MappingError("too small", parameter=memory, need=2, have=1)
    assert printed(capsys, error, False) == f"skipstone: too small{HINT}\n"
    assert printed(capsys, error, True) == printed(capsys, error, None) == "skipstone: too small\n"


@pytest.mark.parametrize(
    "error",
    [
        MappingError("no", parameter="max_stride", need=3, have=2),
        MappingError("no"),
        DesignError("no"),
        SkipstoneError("no"),
    ],
)
def test_other_mistakes_get_no_hint(capsys, error):
    assert printed(capsys, error, False) == "skipstone: no\n"


def test_a_parameter_is_named_by_the_option_of_the_running_command():
    values = {"weight_bits": 8, "study": None}
    assert option_of("weight_bits", values) == "--weight-bits"
    assert option_of("storage", values) == "--study"
    assert option_of("storage", {"weight_bits": 8}) is None
    assert option_of(None, values) is None


def test_every_option_named_in_the_table_exists():
    commands = (characterize_command, explore_command, trace_command)
    options = {name for command in commands for name in inspect.signature(command).parameters}
    assert set(COMMAND_NAMES.values()) <= options
    assert not COMMAND_NAMES.keys() & options
