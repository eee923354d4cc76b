"""What a file is, is decided by its first bytes."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.media.sniff import Kind, sniff
from media_samples import PICTURES, SOUNDS, quarters, saved, sound, video


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A name that says the wrong thing."""
    return tmp_path / "notes.txt"


def ftyp(*brands: bytes) -> bytes:
    major, *compatible = brands
    body = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + b"\0\0\0\x08mdat"


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_is_known_whatever_its_name_says(file: Path, kind: str) -> None:
    file.write_bytes(saved(quarters(), kind))

    assert sniff(file) is Kind.IMAGE


@pytest.mark.parametrize("name", SOUNDS)
def test_every_sound_is_known_whatever_its_name_says(file: Path, name: str) -> None:
    file.write_bytes(sound(**SOUNDS[name]))

    assert sniff(file) is Kind.SOUND


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska"])
def test_a_video_counts_as_sound(file: Path, container: str) -> None:
    file.write_bytes(video(container=container))

    assert sniff(file) is Kind.SOUND


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (ftyp(b"mif1", b"heic"), Kind.IMAGE),
        (ftyp(b"mif1", b"avif", b"miaf"), Kind.IMAGE),
        (ftyp(b"isom", b"iso2", b"mp41"), Kind.SOUND),
        (ftyp(b"M4A "), Kind.SOUND),
        (ftyp(b"qt  "), Kind.SOUND),
        (b"\0\0\0\x08wide\0\0\0\0mdat", Kind.SOUND),
        (b"ID3\x04\0\0\0\0\0\0", Kind.SOUND),
        (b"RIFF\n\n\n\nWAVEfmt ", Kind.SOUND),
        (b"RIFF\n\n\n\nAVI LIST", Kind.UNKNOWN),
        (b"", Kind.UNKNOWN),
        (b"Hello!", Kind.UNKNOWN),
        ("\ufeffHello!".encode("utf-16"), Kind.UNKNOWN),
        (b"#EXTM3U\nhttp://127.0.0.1/", Kind.UNKNOWN),
        (b"ffconcat version 1.0\n", Kind.UNKNOWN),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", Kind.UNKNOWN),
        (b"%PDF-1.7", Kind.UNKNOWN),
        (b"PK\x03\x04", Kind.UNKNOWN),
        (b"GIF89a", Kind.UNKNOWN),
        (b"II*\0", Kind.UNKNOWN),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Kind.UNKNOWN),
    ],
)
def test_first_bytes_tell(file: Path, data: bytes, kind: Kind) -> None:
    file.write_bytes(data)

    assert sniff(file) is kind


@settings(deadline=None)
@given(data=st.binary(max_size=64) | st.binary(max_size=64).map(lambda tail: b"\0\0\0\x20ftyp" + tail))
def test_no_bytes_confuse_it(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(data)

    assert sniff(file) in Kind
