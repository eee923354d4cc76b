"""Keys: nobody can guess one, and nothing else passes for one."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.objects import content_type, is_key, new_key

KEY = f"in/{'a' * 32}.jpg"

hostile = st.one_of(
    st.text(),
    st.text(alphabet="./\\%\0\n ~:inoutabc234.jpgmp3\u0131\u017f"),
    st.from_regex(r"\A(in|out)/[a-z2-7]{30,34}\.(jpg|mp[34]|JPG|php)[\n\0/ ]?\Z"),
    st.builds(
        lambda place, text: KEY[:place] + text + KEY[place:],
        st.integers(0, len(KEY)),
        st.text(min_size=1, max_size=3),
    ),
)


@pytest.mark.parametrize(
    ("folder", "extension", "media_type"),
    [("in", "jpg", "image/jpeg"), ("in", "mp3", "audio/mpeg"), ("out", "mp4", "video/mp4")],
)
def test_a_new_key_is_a_key_of_its_folder_and_type(folder: str, extension: str, media_type: str) -> None:
    key = new_key(folder, extension)  # type: ignore[arg-type] # parameters of tests have no literal types

    assert is_key(key)
    assert re.fullmatch(rf"{folder}/[a-z2-7]{{32}}\.{extension}", key)
    assert content_type(key) == media_type


def test_no_two_keys_are_alike() -> None:
    assert len({new_key("in", "jpg") for _ in range(1000)}) == 1000


@settings(deadline=None)
@given(hostile)
@example("in/../../etc/passwd")
@example(f"{KEY}\n")
@example(f"/{KEY}")
@example(KEY.upper())
def test_whatever_passes_for_a_key_stays_in_its_folder(text: str) -> None:
    if is_key(text):
        path = PurePosixPath("/media", text)
        assert path.parent in (PurePosixPath("/media/in"), PurePosixPath("/media/out"))
        assert str(path) == f"/media/{text}"
        assert re.fullmatch(r"[a-z2-7]+", path.stem)
        assert content_type(text)
    else:
        with pytest.raises(ValueError, match="no key"):
            content_type(text)
