"""Errors that are the user's to mend."""


class UserError(Exception):
    """A mistake of the user's, told in one sentence; commands print it and exit with code 2."""
