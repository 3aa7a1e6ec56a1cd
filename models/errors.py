"""The one exception that this package raises for what a user can put right: a file, a shape, a number, an option."""

from __future__ import annotations


class SkipstoneError(ValueError):
    """A single message that says what is wrong, where, and what to do about it."""
