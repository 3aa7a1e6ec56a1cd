"""Accuracy of a point: the compressed integers on labelled images, measured once for each network and kept."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.explore.identity import code_digest
from skipstone.explore.store import Store, digest
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork


class AccuracyMeter:
    """Top-1 accuracy on the first ``count`` of some images. What was measured is in ``store`` under the digest of the
    network's integers and of the images, so that no two choices that come to the same integers are run twice."""

    def __init__(
        self, data: tuple[NDArray[np.float32], NDArray[np.int64]] | None, count: int, store: Store | None = None
    ) -> None:
        self._data = None if data is None else (data[0][:count], data[1][:count])
        self._store = store or Store()
        self._images = "" if self._data is None else digest(*(array.tobytes() for array in self._data))

    @property
    def images(self) -> int:
        """How many there are; 0 without labelled images."""
        return 0 if self._data is None else len(self._data[1])

    def accuracy(self, network: QuantizedNetwork, network_digest: str) -> float:
        """The share of images whose class the integers find, 0 to 1.

        Args:
            network: The integers.
            network_digest: Of ``network``; an accuracy that is stored under it is not measured again.

        Raises:
            SkipstoneError: There are no labelled images.
        """
        if self._data is None:
            raise SkipstoneError(
                "there are no labelled images to measure accuracy on; name some", parameter="evaluation"
            )
        key = digest("accuracy", code_digest(), network_digest, self._images)
        stored = self._store.get(key)
        if stored is not None:
            return float(struct.unpack("<d", stored)[0])
        accuracy = reference.accuracy(network, *self._data)
        self._store.put(key, struct.pack("<d", accuracy))
        return accuracy
