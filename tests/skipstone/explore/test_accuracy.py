"""Accuracy is that of the reference on the first images, measured once for each network and set of images."""

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore import accuracy
from skipstone.explore.accuracy import AccuracyMeter
from skipstone.explore.compression import network_digest
from skipstone.explore.store import Store, digest
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.models.data.images import load_images
from skipstone.models.quantization import reference
from tests.skipstone.builders import small_data, small_network


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return prepare_network(str(small_network(folder / "small.onnx")), CompressionOptions()).compressed


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_images(small_data(tmp_path_factory.mktemp("data") / "data.npz", count=40))


@pytest.mark.parametrize("count", [1, 17, 40, 1000])
def test_accuracy_is_the_share_of_correct_classes(network, data, count):
    images, labels = data
    measured = AccuracyMeter(data, count).accuracy(network, network_digest(network))
    assert measured == np.mean(reference.predict(network, images[:count]) == labels[:count])


def test_nothing_is_measured_twice(network, data, tmp_path, monkeypatch):
    measured = []
    original = reference.accuracy
    monkeypatch.setattr(accuracy.reference, "accuracy", lambda *a: measured.append(1) or original(*a))
    name = network_digest(network)
    path = tmp_path / "known.db"
    meters = [AccuracyMeter(data, 20, Store(path)) for _ in range(2)]
    accuracies = [meter.accuracy(network, name) for meter in (*meters, meters[0])]
    assert len(measured) == 1
    assert len(set(accuracies)) == 1
    # Other images, and other integers, are another measurement.
    AccuracyMeter(data, 21, Store(path)).accuracy(network, name)
    meters[0].accuracy(network, "other")
    assert len(measured) == 3


def test_accuracy_without_labels_is_refused(network):
    meter = AccuracyMeter(None, 10)
    assert meter.images == 0
    with pytest.raises(SkipstoneError, match="no labelled images"):
        meter.accuracy(network, "any")


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "known.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match=r"can't keep what was computed.*known\.db"):
        Store(tmp_path / "known.db")
    with pytest.raises(OSError, match="can't keep what was computed"):
        Store(tmp_path / "nowhere" / "known.db")


def test_digests_depend_on_where_parts_end():
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("a", b"b") == digest(b"a", "b")
