"""The error that stands in the place of a row of a list."""

__all__ = ["SwapError"]


class SwapError(Exception):
    """A swap that could not be made, in its place in a list: `Swapper.swap(..., on_error="return")`.

    It is an exception, and may be raised. Its `__cause__` is the one that `on_error="raise"` would have raised.

    Attributes:
        row: The row's number in the list.
        type: The name of the exception's type, as "FileNotFoundError".
        message: The exception's message.

    Example:
        >>> from cagan import SwapError
        >>> SwapError(3, "ValueError", "human[3]: not a picture")
        SwapError(3, 'ValueError', 'human[3]: not a picture')
    """

    def __init__(self, row: int, type: str, message: str) -> None:  # noqa: A002, D107  # the class says it
        super().__init__(row, type, message)
        self.row, self.type, self.message = row, type, message

    @classmethod
    def of(cls, row: int, error: BaseException) -> "SwapError":
        """Makes one of the row's exception."""
        made = cls(row, type(error).__name__, str(error))
        made.__cause__ = error
        return made

    def __str__(self) -> str:
        """Returns the message."""
        return self.message
