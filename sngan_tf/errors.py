"""The error for what a user can mend; the command prints its line alone."""

import contextlib
import signal
from collections.abc import Iterator


class UserError(ValueError):
    """A wrong setting, file or folder: one line, what is wrong and right."""


class Diverged(UserError):
    """A training that came to numbers that are not finite.

    An end like another to a study of many; elsewhere an error.
    """


class InUse(UserError):
    """A folder that another process works in."""


class MissingExtra(UserError, ImportError):
    """A package is missing that an extra of this one brings."""


class Interrupted(KeyboardInterrupt):
    """SIGTERM or Ctrl-C.

    Args:
        number: Of the signal.
        message: What became of the run.
    """

    def __init__(
        self, number: int, message: str = "nothing is lost that was saved"
    ):
        super().__init__(f"{signal.Signals(number).name}: {message}")
        self.number = number


def first_line(error: BaseException) -> str:
    """Returns the first line of any exception's message, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Says which extra brings what the imports inside it lack.

    Args:
        name: Of an extra of this package, such as `"train"`.

    Raises:
        MissingExtra: On a package that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise MissingExtra(
            f"The package {package} is missing; "
            f'pip install "sngan_tf[{name}]" brings it'
        ) from error


@contextlib.contextmanager
def as_user_error(prefix: str = "") -> Iterator[None]:
    """Turns the ValueErrors of leaves that know no config into UserErrors."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from error


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """Turns what a disk refuses, as a full one does, into UserErrors."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} can't be written ({error.strerror or error}); what was "
            "saved before is kept"
        ) from error
