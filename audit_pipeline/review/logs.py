"""The desk's log: a line of JSON for each request and each error, on stderr, without secrets."""

import datetime as dt
import json
import logging
import sys
from typing import TextIO

from audit_pipeline.model.untrusted import masked

LOGGERS = ("audit_pipeline.review", "uvicorn")


class JsonLines(logging.Formatter):
    """A record as one line of JSON; every text in it is masked.

    What a record has in its attribute `fields` (a mapping) stands beside its message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        shown = {
            name: masked(value) if isinstance(value, str) else value for name, value in line.items()
        }
        return json.dumps(shown, default=str)


def configure(stream: TextIO = sys.stderr) -> None:
    """Write the lines of this process there."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
