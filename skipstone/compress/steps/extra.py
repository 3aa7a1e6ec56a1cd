"""The way to ``skipstone.models.training``, which needs PyTorch: without it, a step that trains says which extra to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from skipstone.errors import SkipstoneError


def training_module(name: str) -> Any:
    """The module ``skipstone.models.training.NAME``, which needs packages that only training needs.

    Raises:
        SkipstoneError: PyTorch or another such package is missing.
    """
    try:
        return import_module(f"skipstone.models.training.{name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "skipstone":
            raise
        raise SkipstoneError(
            f"this step trains, or needs gradients, with the package {error.name}, which is not installed; "
            "pip install 'skipstone[train]' (or: .venv/bin/pip install -e '.[train]')"
        ) from None
