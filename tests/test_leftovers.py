"""What was stored for a job that is somebody else's by then, or forgotten, is deleted at once; on both engines."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bot.halves import Prepared
from bot.pipeline import Pipeline
from databases import insert_job, reload
from storage.database import Database
from storage.drafts import Drafts, Half, Kind
from storage.forgetting import Forgetting
from storage.job import Job, State
from storage.jobs import Jobs, Overtaken
from storage.objects import LocalStore, MediaSigner, StoreUnavailable, new_key

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHOTO, VOICE = Half(Kind.PHOTO, 1, "photo"), Half(Kind.VOICE, 2, "voice")
HALVES = (
    '[{"kind": "photo", "message_id": 1, "file_id": "photo"}, {"kind": "voice", "message_id": 2, "file_id": "voice"}]'
)
PHOTO_KEY, VOICE_KEY = new_key("in", "jpg"), new_key("in", "mp3")
PREPARED = {
    PHOTO: Prepared(Kind.PHOTO, PHOTO_KEY, {"photo_key": PHOTO_KEY, "photo_message_id": 1, "photo_accepted": 1}),
    VOICE: Prepared(Kind.VOICE, VOICE_KEY, {"voice_key": VOICE_KEY, "voice_message_id": 2, "voice_ms": 900}),
}

Interference = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Nobody comes in between."""


class Workshop:
    """Stands for whatever brings files: each brings one, and while it does, something else happens."""

    def __init__(self, store: LocalStore, source: Path, meanwhile: Interference) -> None:
        self._store, self._source, self._meanwhile = store, source, meanwhile

    async def fetch(self, _url: str, target: Path) -> None:
        target.write_bytes(b"a video")
        await self._meanwhile()

    async def clip(self, _video: Path) -> None:
        """It is all right as it is."""

    def is_unfetchable(self, _job: Job, _error: Exception) -> bool:
        """Nothing is."""
        return False

    async def prepare_all(self, halves: Sequence[Half], *, is_unfetchable: object) -> list[Prepared]:
        for half in halves:
            await self._store.put(PREPARED[half].key, self._source)
        await self._meanwhile()
        return [PREPARED[half] for half in halves]


@pytest.fixture
async def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "media", MediaSigner([b"key"], "http://127.0.0.1"))
    await store.start()
    return store


@pytest.fixture
def step(database: Database, store: LocalStore, tmp_path: Path) -> Callable[..., Awaitable[Job | None]]:
    async def step(job: Job, *, meanwhile: Interference = nothing, **parts: Any) -> Job | None:
        """Take a step of the job's, while something else happens."""
        source = tmp_path / "source"
        source.write_bytes(b"a file")
        workshop = Workshop(store, source, meanwhile)
        needed: dict[str, Any] = {
            "jobs": Jobs(database),
            "drafts": Drafts(database),
            "store": store,
            "halves": workshop,
            "results": workshop,
            "studio": workshop,
            "setbacks": workshop,
            "scratch": tmp_path,
        }
        needless: dict[str, Any] = dict.fromkeys(field.name for field in fields(Pipeline))
        return await Pipeline(**needless | needed | parts).step(job)

    return step


async def kept(store: LocalStore) -> set[str]:
    return {key async for key, _ in store.keys("")}


async def hold(database: Database, state: State) -> Job:
    columns = {"incoming": HALVES} if state is State.COLLECTING else {"result_url": "https://akool.test/v.mp4"}
    return await insert_job(database, state, claim="ours", **columns)


async def forget(database: Database) -> None:
    await Forgetting(database).cancel_all(7)
    await Forgetting(database).delete(7)


async def take_over(database: Database) -> None:
    """Another worker claims whatever there is, its lease being over."""
    assert await Jobs(database).claim(9, lease_ms=60_000)


@pytest.mark.parametrize("interfere", [forget, take_over])
@pytest.mark.parametrize("state", [State.COLLECTING, State.SAVING])
async def test_what_belongs_to_nobody_is_gone_at_once(
    database: Database,
    store: LocalStore,
    step: Callable[..., Awaitable[Job | None]],
    state: State,
    interfere: Callable[[Database], Awaitable[None]],
) -> None:
    job = await hold(database, state)
    with pytest.raises(Overtaken):
        await step(job, meanwhile=lambda: interfere(database))
    assert await kept(store) == set()


async def test_what_belongs_to_a_row_stays(
    database: Database, store: LocalStore, step: Callable[..., Awaitable[Job | None]]
) -> None:
    saved = await step(await hold(database, State.SAVING))
    collected = await step(await hold(database, State.COLLECTING))
    assert saved is not None
    assert collected is not None
    assert (collected.photo_key, collected.voice_key) == (PHOTO_KEY, VOICE_KEY)
    assert await kept(store) == {saved.video_key, PHOTO_KEY, VOICE_KEY}


async def test_a_half_that_was_noted_before_stays(
    database: Database, store: LocalStore, step: Callable[..., Awaitable[Job | None]]
) -> None:
    """Whoever has the draft now has it with that half."""

    class TakenOverAfterTheFirst(Drafts):
        async def settle(self, job: Job, half: Half, **columns: Any) -> Job:
            settled = await super().settle(job, half, **columns)
            await Jobs(database).release(settled, due_at=0)
            await take_over(database)
            return settled

    job = await hold(database, State.COLLECTING)
    with pytest.raises(Overtaken):
        await step(job, drafts=TakenOverAfterTheFirst(database))
    assert (await reload(database, job)).photo_key == PHOTO_KEY
    assert await kept(store) == {PHOTO_KEY}


async def test_a_store_that_cant_delete_just_now_hides_nothing(
    database: Database, store: LocalStore, step: Callable[..., Awaitable[Job | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_key: str) -> None:
        raise StoreUnavailable("for now")

    monkeypatch.setattr(store, "delete", fail)
    job = await hold(database, State.SAVING)
    with pytest.raises(Overtaken):
        await step(job, meanwhile=lambda: forget(database))
