"""What the command line does with log messages: standard error, and a file if one is asked for."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager

__all__ = ["add_log_options", "logging_to"]

_PACKAGE = "specz_cnn"
_FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def add_log_options(parser):
    """Add ``--quiet``, ``--verbose``, ``--log-file`` and ``--debug``, which may stand before and after the command.

    Parameters
    ----------
    parser : `argparse.ArgumentParser`
    """
    from argparse import SUPPRESS

    group = parser.add_argument_group("messages")
    options = {"action": "store_true", "default": SUPPRESS}
    group.add_argument(
        "-q", "--quiet", help="say nothing but warnings and errors, show no progress", **options
    )
    group.add_argument("-v", "--verbose", help="say more", **options)
    group.add_argument(
        "--log-file", metavar="FILE", default=SUPPRESS, help="append all messages to a file, with times"
    )
    group.add_argument("--debug", help="show the full traceback of an error", **options)


class _StandardError(logging.Handler):
    """Messages for people: plain, on whatever standard error is at the moment."""

    def emit(self, record):
        try:
            word = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            print(f"{word}{self.format(record)}", file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - as every handler: a message that cannot be shown must not stop the work
            self.handleError(record)


@contextmanager
def logging_to(*, quiet=False, verbose=False, log_file=None):
    """Show messages of the package while a command runs.

    Parameters
    ----------
    quiet, verbose : bool
        Less, or more, on standard error.
    log_file : path-like, optional
        All messages are appended to this file.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    logger = logging.getLogger(_PACKAGE)
    handlers = [_StandardError(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)]
    if log_file is not None:
        file = logging.FileHandler(log_file, encoding="utf-8")
        file.setFormatter(logging.Formatter(_FILE_FORMAT))
        handlers.append(file)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
