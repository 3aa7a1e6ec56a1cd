"""The shared options become one request, which replaces a command's parameter ``request``."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from skipstone.cli.request import Request, make_request, with_request
from skipstone.flow.prepare import CompressionOptions
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


def test_a_request_without_options_has_the_librarys_defaults() -> None:
    assert make_request("net.onnx") == Request("net.onnx", CompressionOptions(), "edge", False, "45", None)


def test_a_command_gets_a_request_and_its_own_options() -> None:
    app, seen = typer.Typer(), []

    @app.command()
    @with_request("prune", "evaluation")
    def command(request: Request, rounds: Annotated[int, typer.Option("--rounds")] = 3) -> None:
        seen.append((request, rounds))

    arguments = "n --design d.toml --weight-code codebook:7 --weight-bits 4 --activation-bits 6 --calibration c.npz"
    more = "--calibration-method mse --input-range=-1,2 --input-shape 1,2,3,4 --fit-memories --technology 22 --frequency 90"
    done = CliRunner().invoke(app, [*arguments.split(), *more.split(), "--rounds", "5"])
    assert done.exit_code == 0, done.output
    options = CompressionOptions(
        scheme=QuantizationScheme(4, 6, "codebook", 7, calibration_method="mse"),
        calibration="c.npz",
        input_range=(-1.0, 2.0),
        input_shape=(1, 2, 3, 4),
    )
    assert seen == [(Request("n", options, "d.toml", True, "22", 90.0), 5)]
    for option in ("--prune", "--evaluation"):
        assert CliRunner().invoke(app, ["n", option, "none"]).exit_code == 2
        assert option not in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("run", ("--weight-bits", 1), "weight_bits must be 2 to 16, not 1 (option --weight-bits)"),
        ("export", ("--out", "o", "--activation-bits", 17), "activation_bits must be 2 to 16, not 17 (option --activation-bits)"),
        (
            "trace",
            ("--weight-code", "codebook:3"),
            "weight_code codebook:N needs N from 4 to 256, not 'codebook:3' (option --weight-code)",
        ),
        (
            "explore",
            ("--calibration-method", "kl"),
            "no calibration method 'kl'; the methods are minmax, percentile:P (as percentile:99.99), mse, entropy "
            "(option --calibration-method)",
        ),
    ],
)  # fmt: skip
def test_a_refusal_of_the_library_names_the_option(place, command, arguments, message):
    assert mistake(place, command, "small.onnx", *arguments) == message


def test_an_option_that_the_command_lacks_is_not_named(place):
    """A recipe's step sets its own bits; compress has no option for them."""
    (place / "recipe.toml").write_text('[[step]]\ndo = "quantize"\nweight_code = "additive_power_of_two"\n')
    message = mistake(place, "compress", "small.onnx", "--recipe", "recipe.toml", "--data", "data.npz", "--out", "o")
    assert "weight_bits must be 3, 5 or 7" in message
    assert "--" not in message


def test_the_former_name_of_characterize_names_the_new_one(place):
    assert mistake(place, "calibrate", "--part", "cells") == (
        "calibrate is called characterize now: skipstone characterize"
    )
    assert "calibrate" not in invoke("--help").output
