"""What is being done, said once where it begins: every log line below carries it, a library's too, and so does a span.

Each piece of work runs in a task of its own, so what is bound stays bound until that task ends.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from storage.job import Job

log = structlog.get_logger()

OpenSpan = Callable[[str, Mapping[str, Any]], AbstractContextManager[object]]


def _no_span(_name: str, _facts: Mapping[str, Any]) -> AbstractContextManager[object]:
    return nullcontext()


open_span: ContextVar[OpenSpan] = ContextVar("open_span", default=_no_span)
"""How a span is opened, given its name and attributes; inherited by every task that starts where it was set."""


@contextmanager
def step(name: str, **facts: Any) -> Iterator[None]:
    """A piece of work; `facts` are what its lines and its span have beside what is known already."""
    bind_contextvars(**facts)
    with open_span.get()(name, get_contextvars()):
        yield


def job_step(name: str, job: Job) -> AbstractContextManager[None]:
    return step(name, **_facts(job))


def log_state(job: Job) -> None:
    """The one line of each state that a job enters, whoever has brought it there."""
    event = "job moved" if len(job.story) > 1 else "job began"
    log.info(event, **_facts(job), **({"reason": job.reason} if job.reason else {}))


def about_job(job: Job) -> None:
    """For the log's lines alone."""
    bind_contextvars(**_facts(job))


def _facts(job: Job) -> dict[str, Any]:
    return {"job": job.id, "chat": job.chat_id, "state": job.state.value}
