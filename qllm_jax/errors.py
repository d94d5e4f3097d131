"""Errors that the user can correct."""


class UserError(Exception):
    """A mistake of the user, described in one sentence. Commands print it and exit with code 2."""
