"""What a command was asked for, as one object, and the options that it is made from.

A command that works on a network takes a parameter ``request`` and is decorated with :func:`with_request`, which puts the
shared options in its place. Nothing heavy is imported here before it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from skipstone.cli.console import errors
from skipstone.cli.options import (
    ActivationBits,
    Calibration,
    CalibrationMethod,
    DesignOption,
    Evaluation,
    FitMemories,
    Frequency,
    InputRange,
    InputShape,
    Network,
    Prune,
    TechnologyOption,
    WeightBits,
    WeightCode,
    input_range_of,
    input_shape_of,
)

if TYPE_CHECKING:
    from skipstone.flow.prepare import CompressionOptions
    from skipstone.hw.design import Design
    from skipstone.mapper.technology.technology import Technology

PLACE = "request"
"""The parameter of a command that the shared options stand for."""


@dataclass(frozen=True)
class Request:
    """A network, how it is compressed, and what it runs on.

    Args:
        network: An ONNX file, or the name of a carried network.
        options: How the network is compressed, and with which data.
        design: A built-in design, or a TOML file.
        fit_memories: Enlarge the design's memories to what the network needs.
        technology: A node in nm, or a TOML file.
        frequency_mhz: The clock; None: the node's own, or what the design reaches.
    """

    network: str
    options: CompressionOptions
    design: str
    fit_memories: bool
    technology: str
    frequency_mhz: float | None

    def load_design(self) -> Design:
        """The design, with the widths and the multiplier that the network takes, where its file does not name its own.

        Raises:
            SkipstoneError: The design or the network can't be read, or they don't go together.
        """
        from skipstone.flow.designs import design_for_options

        return design_for_options(self.design, self.network, self.options)

    def load_technology(self) -> Technology:
        """Energies, area and clock. Raises SkipstoneError for a node or a file that there isn't."""
        from skipstone.mapper.technology.technology import load_technology

        return load_technology(self.technology, self.frequency_mhz)


def make_request(
    network: Network,
    design: DesignOption = "edge",
    prune: Prune = "none",
    weight_bits: WeightBits = 8,
    weight_code: WeightCode = "linear",
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    evaluation: Evaluation = None,
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    fit_memories: FitMemories = False,
    technology: TechnologyOption = "45",
    frequency: Frequency = None,
) -> Request:
    """The request of the shared options. Raises SkipstoneError for values out of range."""
    from skipstone.flow.prepare import CompressionOptions
    from skipstone.models.quantization.scheme import QuantizationScheme

    options = CompressionOptions(
        prune=prune,
        scheme=QuantizationScheme.parse(weight_code, weight_bits, activation_bits, calibration_method),
        calibration=calibration,
        evaluation=evaluation,
        input_range=input_range_of(input_range),
        input_shape=input_shape_of(input_shape),
    )
    return Request(network, options, design, fit_memories, technology, frequency)


def with_request(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the shared options, all but those named, in the place of its parameter ``request``.

    A user's mistake ends it as :func:`skipstone.cli.console.errors` says.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = [
            parameter
            for name, parameter in inspect.signature(make_request, eval_str=True).parameters.items()
            if name not in without
        ]
        parameters = [
            each
            for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
            for each in (shared if name == PLACE else [parameter])
        ]

        @wraps(command)
        def run(**values: Any) -> None:
            with errors(dict(values)):
                request = make_request(**{parameter.name: values.pop(parameter.name) for parameter in shared})
                command(request=request, **values)

        # Keyword-only, so that options without a default may follow those with one.
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        )
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
