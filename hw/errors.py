"""The one error of the hardware parameters: a design that cannot be built as asked."""


class DesignError(ValueError):
    """A design's parameter is out of range, unknown, or does not go with another one; the text says what to change."""
