"""What only the local folder does: real files, durable ones, and no rubbish left behind."""

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage.objects import LocalStore, MediaSigner, StoreUnavailable, Verdict, new_key

KEY = new_key("out", "mp4")
SIGNER = MediaSigner([b"secret"], "https://bot.example")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "media"


@pytest.fixture
async def store(folder: Path) -> LocalStore:
    opened = LocalStore(folder, SIGNER)
    await opened.start()
    return opened


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video"
    path.write_bytes(b"a video")
    return path


async def test_the_real_file_is_opened_and_stays_whole_while_it_is_replaced(
    store: LocalStore, folder: Path, video: Path
) -> None:
    await store.put(KEY, video)

    async with store.open(KEY) as path:
        assert path == folder / KEY
        with path.open("rb") as reading:
            video.write_bytes(b"another")
            await store.put(KEY, video)
            assert reading.read() == b"a video"


async def test_a_url_is_the_signers(store: LocalStore) -> None:
    _, _, expires, signature, key = urlsplit(store.url(KEY, ttl_seconds=60)).path.split("/", 4)

    assert (SIGNER.verify(expires, signature, key), key) == (Verdict.OK, KEY)


async def test_the_content_is_durable_before_the_name_and_then_the_name(
    store: LocalStore, folder: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen at the system call: the draft is synced while the name is not there yet, then the name's folder is."""
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, (folder / KEY).exists()))

    monkeypatch.setattr(os, "fsync", fsync)

    await store.put(KEY, video)

    assert synced == [(Path(KEY).name, False), ("out", True)]


async def test_what_a_killed_process_left_is_removed_but_not_what_is_being_written(
    store: LocalStore, folder: Path
) -> None:
    for age_seconds in (0, 86_400):
        draft = folder / f".draft-{age_seconds}"
        draft.mkdir()
        (draft / "half.mp4").touch()
        os.utime(draft, (time.time() - age_seconds,) * 2)

    await store.tidy()

    assert [path.name for path in folder.glob(".draft-*")] == [".draft-0"]


async def test_keys_pass_over_what_is_none_of_ours_or_just_deleted(
    store: LocalStore, folder: Path, video: Path
) -> None:
    await store.put(KEY, video)
    (folder / new_key("out", "mp4")).symlink_to("nothing")  # a name whose file is gone, as while it is deleted
    (folder / "out" / "notes.txt").touch()
    (folder / "README").touch()

    assert [key async for key, _ in store.keys(prefix="")] == [KEY]


async def test_a_folder_that_cannot_be_used_is_told_plainly(store: LocalStore, folder: Path, video: Path) -> None:
    (folder / "in").rmdir()
    (folder / "out").rmdir()
    folder.rmdir()
    for work in (store.check(), store.put(KEY, video)):
        with pytest.raises(StoreUnavailable, match=r"^the media folder can't be used: No such file or directory$"):
            await work

    folder.touch()  # a file in its place
    for work in (store.check(), store.start(), store.delete(KEY)):
        with pytest.raises(StoreUnavailable, match=r"^the media folder can't be used: "):
            await work
