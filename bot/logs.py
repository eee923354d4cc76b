"""Logs: one line per thing that matters, for people or for machines, and never a secret, whoever writes it.

The censor works on the finished line, so that it also covers tracebacks and what libraries write.
"""

import logging
import re
import sys
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from bot.spellings import any_spelling

# Their errors pass by themselves: a connection that broke, a proxy's page instead of an answer, a report not sent.
_EXCITED = ("sqlalchemy.pool", "telegram", "opentelemetry", "sentry_sdk")
# What they say below a warning, or of strangers who speak no HTTP, is nobody's business.
_CHATTY = ("alembic.runtime.plugins", "uvicorn")
_STRANGERS = "Invalid HTTP request received."
_CUT_SHORT = "Cancel %s running task(s), timeout graceful shutdown exceeded"  # as when a fetch outlasts our stop

_TRACEBACK_AGAIN_SECONDS = 600

# These write URLs, headers or SQL parameters at their lower levels.
_TALKATIVE = ("httpx", "httpcore", "botocore", "boto3", "urllib3", "s3transfer", "aiosqlite", "sqlalchemy", "PIL")
_HIDDEN = "[hidden]"
_SHORTEST_SECRET = 4
_PATTERNS = (
    re.compile(r"bot\d+(?::|%3A)[\w-]+", re.IGNORECASE),  # the Bot API's URLs
    re.compile(r"https?://[^\s\"'<>]+[?&]X-Amz-[^\s\"'<>]+"),  # presigned URLs
    re.compile(r"(?<=/media/)\d+/[\w-]+"),  # our own signed URLs
    re.compile(r"(?<=/akool/)[\w-]{16,}"),  # the webhook tokens
    re.compile(r"(?<=Bearer )\S+"),
    re.compile(r"(?<=Basic )[\w+/-]+=*"),
    re.compile(r"(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)"),  # a password in a URL
    re.compile(r"(?<=secret_token['\"]: ['\"])[^'\"]+"),  # what python-telegram-bot sends, at DEBUG
    re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"),  # any JWT
)


class Censor:
    """Hides known secrets, however they are spelt, and whatever looks like a token or a signed URL."""

    def __init__(self, secrets: Sequence[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._patterns = [*(re.compile(any_spelling(secret)) for secret in known), *_PATTERNS]

    def __call__(self, line: str) -> str:
        for pattern in self._patterns:
            line = pattern.sub(_HIDDEN, line)
        return line


class _CensoringFormatter(structlog.stdlib.ProcessorFormatter):
    def __init__(self, censor: Censor, **options: Any) -> None:
        super().__init__(**options)
        self._censor = censor

    def format(self, record: logging.LogRecord) -> str:
        return self._censor(super().format(record))


def set_up(
    *,
    style: Literal["text", "json"] = "text",
    level: str = "INFO",
    secrets: Sequence[str] = (),
    stream: TextIO | None = None,
) -> Censor:
    """Send everything that is logged in this process to `stream` (default: standard error), censored.

    Returns the censor, for whatever else leaves the process.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if style == "json"
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_Demoting())
    censor = Censor(secrets)
    handler.setFormatter(
        _CensoringFormatter(
            censor,
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, Tracebacks(), *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in (*_TALKATIVE, *_CHATTY):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return censor


class _Demoting(logging.Filter):
    """Lets an error be one only where a person must act: what libraries make of passing troubles is a warning.

    It is one for every handler that comes later, too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg == _STRANGERS:
            return False
        is_cut_short = record.msg == _CUT_SHORT or isinstance(error_of(record.exc_info), CancelledError)
        if record.levelno >= logging.ERROR and (is_cut_short or record.name.startswith(_EXCITED)):
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


class Tracebacks:
    """A processor that shows a traceback once; while the same trouble goes on, its name must do."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shown_at: dict[tuple[object, ...], float] = {}

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        error = error_of(event.get("exc_info"))
        if error is None:
            return event
        event.setdefault("error", type(error).__name__)
        now = self._now()
        self._shown_at = {it: at for it, at in self._shown_at.items() if now - at < _TRACEBACK_AGAIN_SECONDS}
        trouble = (event.get("logger"), event["event"], *_kinds(error))
        if trouble in self._shown_at:
            del event["exc_info"]
        else:
            self._shown_at[trouble] = now
        return event


def error_of(exc_info: Any) -> BaseException | None:
    """What `exc_info` stands for, in each of the ways that logging and structlog allow."""
    found = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1] if exc_info is True else exc_info
    return found if isinstance(found, BaseException) else None


def _kinds(error: BaseException | None) -> Iterator[object]:
    """What kind of error it is and where it was raised, and the same of what caused it."""
    while error is not None:
        frames = list(traceback.walk_tb(error.__traceback__))
        yield type(error), *((frame.f_code.co_filename, number) for frame, number in frames[-1:])
        error = error.__cause__
