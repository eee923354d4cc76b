"""The log of a test, as JSON lines."""

import io
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from bot import logs


@dataclass(frozen=True)
class Journal:
    stream: io.StringIO
    censor: logs.Censor

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def of(self, **facts: Any) -> list[dict[str, Any]]:
        """The lines that say all this."""
        return [line for line in self.lines if facts.items() <= line.items()]


@contextmanager
def restored_logging() -> Iterator[None]:
    """Logging is global: put it back."""
    root = logging.getLogger()
    handlers, level, configuration = list(root.handlers), root.level, structlog.get_config()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**configuration)
        structlog.contextvars.clear_contextvars()


@contextmanager
def journal(*, secrets: Sequence[str] = ()) -> Iterator[Journal]:
    """Let everything be logged as the service logs it, into memory."""
    with restored_logging():
        stream = io.StringIO()
        yield Journal(stream, logs.set_up(style="json", secrets=secrets, stream=stream))
