"""The package's loggers: what they log is harmless in whatever terminal or file it ends up in.

A filter is asked by the logger that a record is made by, and by no logger above it: one on "ptb_mongo" would see
nothing of its modules' records. A handler would see them, but would replace Python's last resort, and is removed by
`logging.config`. So each logger has the filter, and each module gets its logger here. Other libraries' records stay
as they are.
"""

from __future__ import annotations

import logging
from typing import Final

from ptb_mongo.printable import printable, printable_traceback

__all__ = ["get_logger"]


class _Printable(logging.Filter):
    """Lets every record pass, after its text was escaped."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  (of an argument: `logging` tells of it, and whoever logs must not fail)
            return True
        if (text := printable(message)) != message:  # else template and arguments stay, for those who group by them
            record.msg, record.args = text, ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = printable_traceback(record.exc_info[1])  # a `logging.Formatter` takes this, if it is set
        return True


_PRINTABLE: Final = _Printable()


def get_logger(name: str) -> logging.Logger:
    """The logger of a module.

    Args:
        name: The module's `__name__`.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_PRINTABLE)  # once only, as it is always the same
    return logger
