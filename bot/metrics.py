"""What Prometheus reads, as instruments: each is moved where the thing happens that it counts.

They live as long as the process; what stands in the database is read from there (`exposition.py`). Labels take values
out of small sets only: never an id, an URL, or what somebody wrote.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from akool import ABOUT_THE_ACCOUNT, Accepted, AkoolError, NotSent
from akool.errors import CODES
from bot.version import VERSION
from storage.job import OPEN, OUR_FAULT, TERMINAL, VIDEO_KEPT, VIDEO_LOST, Job, State

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each one, which nobody reads

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_LONG_SECONDS = (0.1, 0.5, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 86400)
_CALL_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 60, 180)
_LAG_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)

BUILD = Info("talkbot_build", "Which version runs", registry=REGISTRY)
STATE_SECONDS = Histogram(
    "talkbot_state_seconds",
    "How long jobs were in a state that they left",
    ["state"],
    buckets=_LONG_SECONDS,
    registry=REGISTRY,
)
JOBS_ENDED = Counter("talkbot_jobs_ended", "Jobs that ended, and why", ["state", "reason"], registry=REGISTRY)
CREATE_CALLS = Counter("talkbot_create_calls", "Calls that AKOOL charges for", ["outcome"], registry=REGISTRY)
RENDERS = Counter(
    "talkbot_renders",
    "What came of asking AKOOL for a video; the code is AKOOL's, or our reason",
    ["outcome", "code"],
    registry=REGISTRY,
)
QUESTIONS = Counter(
    "talkbot_questions", "Questions to AKOOL how a render stands, by its answer", ["status"], registry=REGISTRY
)
CALLBACKS = Counter("talkbot_callbacks", "Callbacks that came as if from AKOOL", ["kind"], registry=REGISTRY)
DELIVERIES = Counter("talkbot_deliveries", "Tries to get a video into its chat", ["outcome"], registry=REGISTRY)
RETRIES = Counter("talkbot_retries", "Steps that will be tried again", ["state"], registry=REGISTRY)
TELEGRAM_SECONDS = Histogram(
    "talkbot_telegram_seconds",
    "Requests to Telegram, by HTTP status",
    ["method", "status"],
    buckets=_CALL_SECONDS,
    registry=REGISTRY,
)
AKOOL_SECONDS = Histogram(
    "talkbot_akool_seconds",
    "Requests to AKOOL, by its code, or what went wrong",
    ["method", "status"],
    buckets=_CALL_SECONDS,
    registry=REGISTRY,
)
CREDIT = Gauge("talkbot_credit", "What is left on the AKOOL account; not a number until it told", registry=REGISTRY)
WEBHOOK_TROUBLE = Gauge(
    "talkbot_webhook_trouble",
    "Whether Telegram could not deliver updates lately, or the webhook can't be set; 0 while polling",
    registry=REGISTRY,
)
LOOP_LAG = Histogram(
    "talkbot_event_loop_lag_seconds",
    "How late the event loop woke a task",
    buckets=_LAG_SECONDS,
    registry=REGISTRY,
)

# A series that begins with its first event has no rate before the second.
for _counter, _values in (
    (CREATE_CALLS, ("accepted", "refused", "unsent", "unknown")),
    (CALLBACKS, ("genuine", "blind", "refused", "unknown_token")),
    (DELIVERIES, ("delivered", "chat_gone", "not_allowed", "told_to_wait", "unknown", "refused")),
    (RETRIES, sorted(OPEN)),
):
    for _value in _values:
        _counter.labels(_value)
for _value in (OUR_FAULT, VIDEO_KEPT, VIDEO_LOST):
    JOBS_ENDED.labels(State.FAILED, _value)
ACCOUNT_CODES = {str(code) for code, kind in CODES.items() if issubclass(kind, ABOUT_THE_ACCOUNT)} | {
    kind.__name__ for kind in ABOUT_THE_ACCOUNT
}
for _value in sorted(ACCOUNT_CODES):
    RENDERS.labels("refused", _value)
BUILD.info({"version": VERSION})
CREDIT.set(float("nan"))


def job_moved(job: Job) -> None:
    """A job has entered its state: note how long it was in the last one, and what that means."""
    (left, since), (state, now) = job.story[-2:]
    STATE_SECONDS.labels(left).observe((now - since) / 1000)
    if state in TERMINAL:
        JOBS_ENDED.labels(state, job.reason or "").inc()
    if left is State.RENDERING:
        outcome = "completed" if state is State.SAVING else str(state)
        RENDERS.labels(outcome, job.reason or "").inc()


def create_failed(error: AkoolError) -> None:
    """A create call did not succeed, as far as we know."""
    is_unsure = error.accepted is Accepted.UNKNOWN
    outcome = "unknown" if is_unsure else "unsent" if isinstance(error, NotSent) else "refused"
    CREATE_CALLS.labels(outcome).inc()
    RENDERS.labels(outcome, error.kind).inc()


def akool_called(method: str, status: str, seconds: float) -> None:
    """A request to AKOOL has ended."""
    AKOOL_SECONDS.labels(method, status).observe(seconds)


@dataclass
class Answer:
    """What came of a request to Telegram: its HTTP status, where there was an answer."""

    status: int | None = None


@contextmanager
def telegram_call(method: str) -> Iterator[Answer]:
    """Time a request, and note what the block says of its answer; one that is broken off does not count."""
    answer, began = Answer(), time.perf_counter()

    def note() -> None:
        TELEGRAM_SECONDS.labels(method, answer.status or "no_answer").observe(time.perf_counter() - began)

    try:
        yield answer
    except Exception:
        note()
        raise
    note()
