"""Results as JSON: what is read back is what was written, and what is no result is refused with what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skipstone.errors import ResultError
from skipstone.mapper.results.network import SCHEMA, NetworkResult
from tests.reports.networks import host_layer, layer, network, resnet8

RESULTS = [resnet8(), resnet8(rtl=False, fmax_mhz=None), network((layer(folds=((2, 2), (1, 1))), host_layer()))]


@pytest.mark.parametrize("result", RESULTS)
def test_json_and_back(result: NetworkResult) -> None:
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert NetworkResult.from_dict(values) == result


def test_the_file_says_what_it_is() -> None:
    assert next(iter(resnet8().to_dict().items())) == ("skipstone", SCHEMA)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"skipstone": None}, "has no key 'skipstone'"),
        ({"skipstone": "network 0"}, "says 'network 0'"),
        ({"layers": None}, "damaged"),
        ({"accuracy": {"best": 1}}, "damaged"),
        ({"colour": "blue"}, "damaged"),
        ({"layers": [{"name": "conv1"}]}, "damaged result: KeyError"),
    ],
)
def test_what_is_no_result_is_refused(changes: dict[str, Any], text: str) -> None:
    values = {**json.loads(json.dumps(resnet8().to_dict())), **changes}
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ResultError, match=text):
        NetworkResult.from_dict(values)
