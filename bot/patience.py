"""How long we wait before trying again, and when we stop. Policies as values; all times in milliseconds."""

import random

from akool import AkoolError, CreateFailed, Fault

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

LEASE_MS = MINUTE_MS
"""How long a worker that is not heard of keeps what it has claimed."""

CHAT_MAY_RETURN_MS = 30 * DAY_MS

_QUESTIONS_GROW = 1.25
_QUESTIONS_MOST = 3  # times the first delay


def backoff_ms(attempts: int, *, first_ms: int = 2 * SECOND_MS, most_ms: int = 5 * MINUTE_MS) -> int:
    """Twice as long each time, up to `most_ms`, with a tenth of jitter so that many don't come back at once."""
    delay = min(first_ms * 2 ** min(attempts, 30), most_ms)
    return int(delay * random.uniform(0.9, 1.1))


def question_delay_ms(asked: int, *, first_ms: float) -> int:
    """How long after the last question to AKOOL the next one follows."""
    return int(first_ms * min(_QUESTIONS_GROW**asked, _QUESTIONS_MOST))


def create_again_after_ms(error: AkoolError, *, attempts: int, refused_for_ms: int) -> int | None:
    """When to repeat a create call that was surely not accepted; None: give the job up.

    AKOOL's "please try again later" codes are also what it says of media that it could not fetch or use, so these
    get a few quick tries only. For everything that may pass by itself we wait up to an hour.
    """
    if not error.retryable and error.fault is Fault.INPUT:
        return None
    if isinstance(error, CreateFailed):
        return backoff_ms(attempts, first_ms=4 * SECOND_MS) if attempts < 4 else None  # noqa: PLR2004 - five in all
    if refused_for_ms > HOUR_MS:
        return None
    asked_for = int((error.retry_after_seconds or 0) * SECOND_MS)
    return max(asked_for, backoff_ms(attempts, most_ms=MINUTE_MS))
