"""The one exception that a user is meant to read."""


class SegscopeError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""
