"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Bad input. The message is one sentence that says what is wrong and what to do; the command line exits with code 2."""
