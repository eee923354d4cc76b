"""Logs: one line per thing that matters, for people or for machines, and never a secret, whoever writes it.

The censor works on the finished line, so that it also covers tracebacks and what libraries write.
"""

import logging
import re
import sys
from collections.abc import Sequence
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from bot.spellings import any_spelling

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
) -> None:
    """Send everything that is logged in this process to `stream` (default: standard error), censored."""
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
    handler.setFormatter(
        _CensoringFormatter(
            Censor(secrets),
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            _stack,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _stack(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event.setdefault("stack_info", None)
    return event
