"""A job: one photo and one voice on their way to one video. Its row is the only truth about it.

                          ┌───────────── surely not accepted: try again ────────────┐
                          ▼                                                         │
    collecting ──────► queued ──────► submitting ──────► rendering ──────► saving ──────► delivering ──────► delivered
    halves arrive      both are       intent written,    AKOOL has it,     completed:     the chat gets it
    and are prepared   stored         POST create        _id known         fetch it
        │                 │               │                  │                │               │
        └─────────────────┴───────────────┴──────────────────┴────────────────┴───────────────┘
                              failed(reason) | cancelled

Nothing can be spent before a job leaves `queued`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row

from storage.schema import jobs


class State(StrEnum):
    COLLECTING = "collecting"
    QUEUED = "queued"
    SUBMITTING = "submitting"
    RENDERING = "rendering"
    SAVING = "saving"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({State.DELIVERED, State.FAILED, State.CANCELLED})
FREE = frozenset({State.COLLECTING, State.QUEUED})  # nothing is spent before these are left
AT_AKOOL = frozenset({State.SUBMITTING, State.RENDERING})
OPEN = frozenset(State) - TERMINAL

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.COLLECTING: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.QUEUED: frozenset({State.SUBMITTING, State.RENDERING, State.FAILED, State.CANCELLED}),
    State.SUBMITTING: frozenset({State.QUEUED, State.RENDERING, State.FAILED, State.CANCELLED}),
    State.RENDERING: frozenset({State.SAVING, State.FAILED, State.CANCELLED}),
    State.SAVING: frozenset({State.DELIVERING, State.FAILED, State.CANCELLED}),
    State.DELIVERING: frozenset({State.DELIVERED, State.FAILED, State.CANCELLED}),
}


RENDER_FAILED = "render_failed"
"""The beginning of the reasons of jobs of which AKOOL could make no video."""

NOT_ALLOWED = "not_allowed"
"""The reason of a job in `delivering` whose group takes no videos of us for now."""

CHAT_GONE = "chat_gone"
"""The reason of a job in `delivering` whose chat will have nothing of us for now."""

SUBMIT_UNKNOWN = "submit_unknown"
"""The reason of a job in `submitting` whose owner is asked what to do."""

OUR_FAULT = "our_fault"
"""The reason of a failed job whose step kept failing by what does not pass by itself."""

VIDEO_KEPT = "video_kept"
"""The same, where the video is there and could only not be sent."""

VIDEO_LOST = "video_lost"
"""The reason of a failed job whose video is in our store no more."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row of `jobs`. Times are milliseconds since the epoch, UTC."""

    id: int
    chat_id: int
    thread_id: int
    user_id: int
    state: State
    reason: str | None
    due_at: int | None
    claim: str | None
    rung: int
    attempts: int
    incoming: str
    photo_message_id: int | None
    photo_key: str | None
    photo_accepted: int
    voice_message_id: int | None
    voice_key: str | None
    voice_ms: int | None
    akool_id: str | None
    result_url: str | None
    paid: int
    video_key: str | None
    video_message_id: int | None
    video_file_id: str | None
    sending_at: int | None
    status_message_id: int | None
    status_shown: str | None
    status_shown_at: int | None
    status_at: int | None
    status_claim: str | None
    status_rung: int
    queued_at: int | None
    submitted_at: int | None
    rendered_at: int | None
    created_at: int
    updated_at: int
    timeline: str
    refused_at: int | None
    language: str | None
    is_round: int
    album: str | None
    asked_message_id: int | None
    faults: int

    @classmethod
    def of(cls, row: Row[Any]) -> "Job":
        values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a mapping
        return cls(**{**values, "state": State(values["state"])})

    @property
    def has_photo(self) -> bool:
        """Whether a photo is stored that may be used: with a face in it, or accepted by its owner."""
        return self.photo_key is not None and bool(self.photo_accepted)

    @property
    def story(self) -> list[tuple[State, int]]:
        """Each state that the job has been in, and since when."""
        pieces = (line.split() for line in self.timeline.splitlines())
        return [(State(state), int(at)) for state, at in pieces]

    @property
    def since(self) -> int:
        """When it entered the state that it is in."""
        return self.story[-1][1]


COLUMNS = tuple(jobs.c[field.name] for field in fields(Job))

IS_OPEN: ColumnElement[bool] = jobs.c.due_at.isnot(None)
"""Whether a job has not ended. What looks among the open jobs says this, beside what else it says that means the same:
then both engines know that they are few, however many have ended."""
