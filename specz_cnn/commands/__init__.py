"""The subcommands of ``specz-cnn``, one module each.

A module offers ``add_arguments(parser)`` and ``run(args)``, which returns the exit status: 0, or 1 if some rows
failed.  It is imported only when its command is asked for.
"""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """The command line asks for something that makes no sense; its message is shown and the exit status is 2."""
