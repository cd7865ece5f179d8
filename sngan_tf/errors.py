"""The error for what a user can mend; the command prints its line alone."""

import contextlib


class UserError(ValueError):
    """A wrong setting, file or folder: one line, what is wrong and right."""


def first_line(error):
    """Returns the first line of any exception's message, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def as_user_error(prefix=""):
    """Turns the ValueErrors of leaves that know no config into UserErrors."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from error
