"""The error for what a user can mend; the command prints its line alone."""


class UserError(ValueError):
    """A wrong setting, file or folder: one line, what is wrong and right."""
