"""The package's loggers: what they log is harmless in any terminal or file.

Python asks only the filters of the logger that creates a record, and none of its parents': a filter on "ptb_mongo"
would not see its modules' records. A handler would, but it would replace Python's handler of last resort, and
`logging.config` would remove it. So each logger has the filter, and each module gets its logger here. Other
libraries' records stay as they are.
"""

from __future__ import annotations

import logging
from typing import Final

from ptb_mongo.printable import printable, printable_traceback

__all__ = ["get_logger"]


class _Printable(logging.Filter):
    """Lets every record pass, with its text escaped."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  (of an argument: `logging` tells of it, and whoever logs must not fail)
            return True
        if (text := printable(message)) != message:  # else template and arguments stay, for tools that group by them
            record.msg, record.args = text, ()
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = printable_traceback(record.exc_info[1])  # a `logging.Formatter` uses this if it is set
        return True


_PRINTABLE: Final = _Printable()


def get_logger(name: str) -> logging.Logger:
    """The logger of a module.

    Args:
        name: The module's `__name__`.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_PRINTABLE)  # has no effect the second time, as it is always the same filter
    return logger
