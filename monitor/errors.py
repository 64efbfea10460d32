"""Errors a person can mend: the message is for them, a line for each thing that is wrong."""


class UserError(Exception):
    """Shown as it is, without traceback; the command then exits 1."""
