"""What is no HTTP costs a line in the log now and then, not a traceback each time."""

from __future__ import annotations

import logging
import warnings

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

from oyez.logs import RateLimitedLogger

log = logging.getLogger(__name__)


class _Shorten(logging.Filter):
    """Anybody can send rubbish, and what it holds is nobody's business: neither is in the log."""

    def __init__(self) -> None:
        super().__init__()
        self._seldom = RateLimitedLogger(log)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
            return True
        client = record.args[0] if isinstance(record.args, tuple) and record.args else None
        self._seldom.warning(
            "a request was refused: it is no HTTP, or too large",
            client=client,
            reason=type(error).__name__,
        )
        return False


def log_bad_requests_seldom() -> None:
    """For every server of this process, from now on."""
    # of forms that are malformed: each new text of a stranger would be a line, and kept for ever
    warnings.filterwarnings("ignore", module="aiohttp.multipart")
    if not any(isinstance(each, _Shorten) for each in server_logger.filters):
        server_logger.addFilter(_Shorten())
