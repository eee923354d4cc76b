"""Any sound becomes an MP3, or is refused before it costs anything."""

import resource
import struct
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.media import MediaRefused, Refusal, Sound
from bot.media.sound import make_sound
from media_samples import SOUNDS, photo, sound, video, wav

MAX_SECONDS = 3


class Maker:
    """Makes a sound of bytes, and keeps what came out."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "voice.ogg"
        self.target = folder / "voice.mp3"

    def __call__(self, data: bytes) -> Sound:
        self.source.write_bytes(data)
        return make_sound(self.source, self.target, max_seconds=MAX_SECONDS)

    def refusal(self, data: bytes) -> Refusal:
        with pytest.raises(MediaRefused) as refused:
            self(data)
        assert not self.target.exists()
        return refused.value.refusal


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


MP3 = {"container": "mp3", "codec": "libmp3lame"}
ADTS = {"container": "adts", "codec": "aac"}


@pytest.mark.parametrize("name", [*SOUNDS, "video.mp4"])
def test_every_format_becomes_the_mp3_that_we_promise(make: Maker, name: str) -> None:
    data = sound(**SOUNDS[name]) if name in SOUNDS else video(seconds=2)

    assert make(data).duration_ms == pytest.approx(2000, abs=70)
    with av.open(make.target) as container:
        (stream,) = container.streams.audio
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
        assert (container.format.name, stream.rate, stream.channels) == ("mp3", 44_100, 1)
        assert stream.bit_rate == 96_000
        assert container.metadata == {}
    assert len(heard) / 44_100 == pytest.approx(2, abs=0.1)
    assert heard[4_410:-4_410].std() == pytest.approx(0.2, abs=0.08)


HEARD: dict[str, tuple[Callable[[], bytes], float]] = {
    "just long enough": (lambda: sound(seconds=0.6), 0.6),
    "just short enough": (lambda: sound(seconds=MAX_SECONDS + 0.3), MAX_SECONDS + 0.3),
    "a word after a silence": (lambda: sound(seconds=0.5, quiet_seconds=2), 2.5),
    "a whisper": (lambda: sound(loudness=0.006), 2),
    "no header, of which much is guessed": (lambda: sound(**ADTS, seconds=1, quiet_seconds=1.5), 2.5),
    "cut off, and its header does not know": (lambda: sound(**MP3)[:9_000], 1.1),
    "words after the sound": (lambda: sound(**MP3) + b"LYRICSBEGIN" + b"la " * 1000, 2),
    "the last frame cut": (lambda: sound(**ADTS)[:-50], 2),
    "a title in latin-1": (
        lambda: b"ID3\x04\0\0\0\0\0\x12TIT2\0\0\0\x08\0\0\x03caf\xe9 \xff\xfe" + sound(**MP3, with_header=False),
        2,
    ),
    "cut off": (lambda: sound(**SOUNDS["voice.mka"])[:-4_000], 1.5),
}


@pytest.mark.parametrize(("data", "seconds"), HEARD.values(), ids=HEARD)
def test_what_can_be_used_is_charged_by_what_is_heard(make: Maker, data: Callable[[], bytes], seconds: float) -> None:
    assert make(data()).duration_ms / 1000 == pytest.approx(seconds, abs=0.1)


def interrupted(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + b"\xff" * 2_000 + data[middle:]


def claiming_frames(data: bytes, frames: int) -> bytes:
    """An MP3 with another number of frames in its header; 38 of them are a second."""
    start = data.index(b"Xing" if b"Xing" in data else b"Info") + 8
    return data[:start] + struct.pack(">I", frames) + data[start + 4 :]


REFUSED: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "nothing": (lambda: b"", Refusal.NOT_A_SOUND),
    "a text": (lambda: b"Hello!", Refusal.NOT_A_SOUND),
    "a picture": (lambda: photo("JPEG"), Refusal.NOT_A_SOUND),
    "a film without sound": (lambda: video(with_sound=False), Refusal.NO_SOUND),
    "silence": (lambda: sound(loudness=0), Refusal.SILENT),
    "next to nothing": (lambda: sound(loudness=0.002), Refusal.SILENT),
    "a click": (lambda: sound(seconds=0.4), Refusal.SOUND_TOO_SHORT),
    "a second too much": (lambda: sound(seconds=MAX_SECONDS + 1), Refusal.SOUND_TOO_LONG),
    "a second too much, mp3": (
        lambda: sound(**MP3, with_header=False, seconds=MAX_SECONDS + 1),
        Refusal.SOUND_TOO_LONG,
    ),
    "a second too much, aac": (lambda: sound(**ADTS, seconds=MAX_SECONDS + 1), Refusal.SOUND_TOO_LONG),
    "a header that says ten hours": (lambda: claiming_frames(sound(**MP3), 38 * 36_000), Refusal.SOUND_TOO_LONG),
    "a header that says one second": (
        lambda: claiming_frames(sound(**MP3, seconds=MAX_SECONDS + 1), 38),
        Refusal.SOUND_TOO_LONG,
    ),
    "cut in its header": (lambda: sound(seconds=2)[:500], Refusal.SOUND_DAMAGED),
    "without its index": (lambda: sound(**SOUNDS["memo.m4a"])[:-500], Refusal.SOUND_DAMAGED),
    "interrupted": (lambda: interrupted(sound(**MP3)), Refusal.SOUND_DAMAGED),
    "a rate that changes": (
        lambda: sound(**MP3, with_header=False, seconds=1) + sound(**MP3, with_header=False, seconds=1, rate=22_050),
        Refusal.SOUND_DAMAGED,
    ),
    "an absurdly high rate": (lambda: wav(b"\x12\x34" * 50_000, rate=1_200_000_000), Refusal.SOUND_DAMAGED),
    "an absurdly low rate": (lambda: wav(b"\x12\x34" * 50_000, rate=1), Refusal.SOUND_TOO_LONG),
    "an unknown codec": (lambda: wav(b"\x12\x34" * 50_000, rate=44_100, code=0x7777), Refusal.SOUND_DAMAGED),
    "no samples": (lambda: wav(b"", rate=44_100), Refusal.SOUND_DAMAGED),
}


@pytest.mark.parametrize(("data", "refusal"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_used_is_refused(make: Maker, data: Callable[[], bytes], refusal: Refusal) -> None:
    assert make.refusal(data()) is refusal


def test_numbers_that_are_none_do_no_harm(make: Maker) -> None:
    make(wav(struct.pack("<f", float("nan")) * 44_100, rate=44_100, code=3, bits=32))


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-VERSION:3\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{url}'\nduration 2\n",
    "SDP": "v=0\no=- 0 0 IN IP4 {url}\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A sound on this machine that is nobody's business. Its name is one that FFmpeg's playlists may name."""
    path = tmp_path / "secret.mp3"
    path.write_bytes(sound(**MP3))
    return path


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that offers a sound, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(sound(**MP3))

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/secret.mp3", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["voice.ogg", "voice.m3u8"])
@pytest.mark.parametrize("playlist", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_reads_no_file_of_ours(make: Maker, secret: Path, playlist: str, name: str) -> None:
    make.source = secret.with_name(name)
    for url in (secret.name, str(secret), f"file://{secret}"):
        assert make.refusal(playlist.format(url=url).encode()) is Refusal.NOT_A_SOUND


@pytest.mark.parametrize("name", ["voice.ogg", "voice.m3u8"])
@pytest.mark.parametrize("playlist", PLAYLISTS.values(), ids=PLAYLISTS)
def test_a_playlist_fetches_nothing(make: Maker, requests: tuple[str, list[str]], playlist: str, name: str) -> None:
    url, asked = requests
    make.source = make.source.with_name(name)

    assert make.refusal(playlist.format(url=url).encode()) is Refusal.NOT_A_SOUND
    assert not asked


# --- hostile bytes ---


def test_a_tag_that_claims_a_gigabyte_does_not_get_it(make: Maker) -> None:
    tag = b"LIST" + struct.pack("<I4s4sI", 0x7FFFFFFF, b"INFO", b"ISFT", 0x50000000)
    header, data = wav(b"\x12\x34" * 44_100, rate=44_100).split(b"data", 1)
    before = most_memory_mb()

    assert make.refusal(header + tag + b"data" + data) is Refusal.SOUND_DAMAGED
    assert most_memory_mb() - before < 200


def most_memory_mb() -> int:
    """What this process ever had at one time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(SOUNDS)), where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=40))
def test_no_damage_does_worse_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, name: str, where: float, junk: bytes
) -> None:
    data = bytearray(sound(**SOUNDS[name], seconds=0.6))
    start = int(where * len(data))
    data[start : start + len(junk)] = junk
    make = Maker(tmp_path_factory.getbasetemp())
    try:
        make(bytes(data))
    except MediaRefused:
        assert not make.target.exists()


def test_trouble_of_this_machine_is_not_blamed_on_the_sound(tmp_path: Path, make: Maker) -> None:
    make(sound())

    with pytest.raises(FileNotFoundError):
        make_sound(tmp_path / "gone", make.target, max_seconds=MAX_SECONDS)
    with pytest.raises(FileNotFoundError):
        make_sound(make.source, tmp_path / "gone" / "voice.mp3", max_seconds=MAX_SECONDS)
