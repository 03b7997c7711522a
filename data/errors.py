"""Errors that a person can mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave: one line that says what was expected, what came and what to do.

    The command line prints the line without a traceback and exits with status 2.
    """
