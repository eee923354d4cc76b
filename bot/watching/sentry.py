"""Errors to Sentry: the log's own, and nothing that the log would not say.

None of the SDK's integrations runs: they would add request bodies, breadcrumbs, arguments and the machine's name.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import sentry_sdk
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception
from structlog.contextvars import get_contextvars

from bot.logs import Censor, error_of
from bot.version import VERSION

_TAGS = ("job", "chat", "state", "update", "alarm", "worker")
_FLUSH_SECONDS = 3


@contextmanager
def reporting(dsn: str, censor: Censor) -> Iterator[None]:
    """Send what is logged as an error until the end of the block."""

    def censored(event: Event, _hint: Hint) -> Event:
        event.pop("server_name", None)
        event.pop("breadcrumbs", None)
        return _censored(event, censor)  # type: ignore[no-any-return]

    sentry_sdk.init(
        dsn,
        release=f"talkbot@{VERSION}",
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        send_client_reports=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=censored,
    )
    handler = _Handler(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        sentry_sdk.get_client().close(timeout=_FLUSH_SECONDS)


class _Handler(logging.Handler):
    """Makes events of log records, ours (a dict of facts) and those of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        is_about_sending = record.name.startswith(("sentry_sdk", "urllib3"))
        if not is_about_sending:
            with suppress(Exception):  # a report must not break what it reports
                sentry_sdk.capture_event(_event(record))

    def flush(self) -> None:
        """Wait until all is sent, for the last words of a process that ends itself."""
        sentry_sdk.get_client().flush(timeout=_FLUSH_SECONDS)


def _event(record: logging.LogRecord) -> Event:
    facts: Mapping[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
    facts = {**get_contextvars(), **facts}
    error = error_of(record.exc_info or facts.get("exc_info"))
    event: Event = event_from_exception(error, sentry_sdk.get_client().options)[0] if error else {}
    event["level"] = "fatal" if record.levelno >= logging.CRITICAL else "error"
    event["logger"] = record.name
    event["logentry"] = {"message": str(facts["event"])}
    event["tags"] = {name: str(facts[name]) for name in _TAGS if name in facts}
    shown = {"event", "exc_info", "stack_info", "level", "logger", "timestamp", *_TAGS}
    event["extra"] = {name: str(value) for name, value in facts.items() if name not in shown}
    return event


def _censored(value: Any, censor: Censor) -> Any:
    if isinstance(value, str):
        return censor(value)
    if isinstance(value, Mapping):
        return {_censored(key, censor): _censored(inner, censor) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_censored(inner, censor) for inner in value]
    return value
