"""A past for a database: people's jobs that have ended, the calls that were made for them, and updates long handled."""

from typing import Any

from sqlalchemy import Table, insert

from storage.database import Database
from storage.job import State
from storage.schema import calls, jobs, updates

_BATCH = 5000
_JOBS_OF_EACH = 20
_TWO_DAYS_MS = 48 * 3_600_000


async def fill(database: Database, ended: int, *, state: State = State.DELIVERED) -> None:
    """Let so many jobs have ended in `state`, two days ago at the latest; each with a call and an update."""
    first_at = database.now() - _TWO_DAYS_MS - ended
    for first in range(0, ended, _BATCH):
        numbers = range(first + 1, min(first + _BATCH, ended) + 1)
        rows: dict[Table, list[dict[str, Any]]] = {
            jobs: [_job(number, first_at + number, state) for number in numbers],
            calls: [_call(number, first_at + number) for number in numbers],
            updates: [_update(number, first_at + number) for number in numbers],
        }
        async with database.begin() as connection:
            for table, values in rows.items():
                await connection.execute(insert(table), values)


def _whose(number: int) -> int:
    return 1_000_000 + number // _JOBS_OF_EACH


def _job(number: int, at: int, state: State) -> dict[str, Any]:
    """As a job's row looks when the job is over, and its photo, voice and video are still kept."""
    way = ("collecting", "queued", "submitting", "rendering", "saving", "delivering", state)
    return {
        "chat_id": _whose(number),
        "user_id": _whose(number),
        "state": state,
        "photo_key": f"photo/{number:032x}.jpg",
        "photo_message_id": number,
        "photo_accepted": 1,
        "voice_key": f"voice/{number:032x}.mp3",
        "voice_message_id": number,
        "voice_ms": 5000,
        "akool_id": f"{number:024x}",
        "paid": 1,
        "queued_at": at,
        "submitted_at": at,
        "created_at": at,
        "updated_at": at,
        "timeline": "".join(f"{passed} {at}\n" for passed in way),
        **(_video(number, at) if state is State.DELIVERED else {"reason": "render_failed"}),
    }


def _video(number: int, at: int) -> dict[str, Any]:
    return {
        "rendered_at": at,
        "result_url": f"https://results.example/{number:032x}.mp4",
        "video_key": f"video/{number:032x}.mp4",
        "video_message_id": number,
        "video_file_id": f"{number:072x}",
    }


def _call(number: int, at: int) -> dict[str, Any]:
    call = {"token": f"{number:032x}", "job_id": number, "created_at": at, "closed_at": at}
    return call | {"akool_id": f"{number:024x}", "outcome": "accepted", "heard": 3}


def _update(number: int, at: int) -> dict[str, Any]:
    return {"update_id": number, "lane": _whose(number), "raw": "", "received_at": at}
