"""Any picture becomes an upright sRGB JPEG without metadata, or is refused before it costs anything."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bot.media import MediaRefused, Picture, Refusal
from bot.media.picture import make_picture
from media_samples import PICTURES, jpeg_claiming, photo, png, portrait, quarters, saved, sound

RED, LIME, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
UPRIGHT = [RED, LIME, BLUE, WHITE]


class Maker:
    """Makes a picture of bytes, and keeps what came out."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.target = folder / "photo.jpg"

    def __call__(self, data: bytes) -> Picture:
        self.source.write_bytes(data)
        return make_picture(self.source, self.target)

    def refusal(self, data: bytes) -> Refusal:
        with pytest.raises(MediaRefused) as refused:
            self(data)
        assert not self.target.exists()
        return refused.value.refusal

    @property
    def output(self) -> Image.Image:
        with Image.open(self.target) as image:
            image.load()
        return image

    @property
    def corners(self) -> list[tuple[int, int, int]]:
        """The colours of the quarters, each channel made 0 or 255."""
        small = np.asarray(self.output.resize((4, 4), Image.Resampling.BOX))
        return [tuple(int(value > 127) * 255 for value in small[y, x]) for y in (0, 3) for x in (0, 3)]  # type: ignore[misc]  # of three


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.mark.parametrize("kind", PICTURES)
def test_every_format_becomes_a_jpeg_and_its_face_is_found(make: Maker, kind: str) -> None:
    assert make(photo(kind)) == Picture(*portrait().size, has_face=True)
    assert (make.output.format, make.output.mode) == ("JPEG", "RGB")
    assert brightness(make.output) == pytest.approx(brightness(portrait()), abs=3)


def test_no_face_is_seen_where_there_is_none(make: Maker) -> None:
    assert not make(saved(quarters())).has_face


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_is_made_smaller(make: Maker, kind: str) -> None:
    assert make(saved(portrait().resize((2000, 1500)), kind, compress_level=1)) == Picture(1600, 1200, has_face=True)


def test_a_photo_of_a_hundred_megapixels_is_taken(make: Maker) -> None:
    """Pillow's own limit would warn of it."""
    assert make(saved(Image.new("L", (10_000, 9_500)), "JPEG")) == Picture(1600, 1520, has_face=False)


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind != "HEIF"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_picture_that_was_stored_turned_is_put_upright(
    make: Maker, kind: str, orientation: int, turn: Image.Transpose | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quarters().transpose(turn) if turn is not None else quarters()

    assert make(saved(stored, kind, exif=exif)) == Picture(*quarters().size, has_face=False)
    assert make.corners == UPRIGHT


def test_a_picture_is_put_upright_whatever_else_its_exif_says(make: Maker) -> None:
    """Here the name of a camera is a fraction, which Pillow reads but can't write."""
    camera = struct.pack("<HHLL", 0x0110, 5, 1, 8 + 2 + 2 * 12 + 4)
    turned = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + camera + turned + bytes(4) + struct.pack("<LL", 1, 1)

    make(saved(quarters().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif))

    assert make.corners == UPRIGHT


def test_a_heic_that_was_stored_turned_is_put_upright_once(make: Maker) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    make(saved(quarters().transpose(Image.Transpose.ROTATE_90), "HEIF", exif=exif.tobytes()))

    assert make.corners == UPRIGHT


@pytest.mark.parametrize("profile", [True, False])
def test_the_jpeg_says_nothing_about_where_it_comes_from(make: Maker, *, profile: bool) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[1] = "N"
    secrets = {
        "exif": exif,
        "comment": b"at home",
        "icc_profile": srgb() if profile else None,
        "xmp": b"<x:xmpmeta/>",
        "dpi": (300, 300),
    }

    make(saved(portrait(), "JPEG", **secrets))

    assert set(make.output.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not any(secret in make.target.read_bytes() for secret in (b"Camera", b"at home", b"xmpmeta", b"ICC_PROFILE"))


UNUSUAL: dict[str, Callable[[Image.Image], bytes]] = {
    "cmyk": lambda image: saved(image.convert("CMYK"), "JPEG"),
    "grey": lambda image: saved(image.convert("L"), "JPEG"),
    "black and white": lambda image: saved(image.convert("1")),
    "grey with alpha": lambda image: saved(image.convert("LA")),
    "palette": lambda image: saved(image.quantize(200)),
    "16 bits": lambda image: saved(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)),
    "animated png": lambda image: saved(image, save_all=True, append_images=[Image.new("RGB", image.size)]),
    "animated webp": lambda image: saved(image, "WEBP", save_all=True, append_images=[Image.new("RGB", image.size)]),
    "animated avif": lambda image: saved(
        image, "AVIF", speed=10, save_all=True, append_images=[Image.new("RGB", image.size)]
    ),
    "progressive": lambda image: saved(image, "JPEG", progressive=True),
    "broken exif": lambda image: saved(image, "JPEG", exif=b"Exif\0\0not at all"),
    "exif that breaks off": lambda image: saved(image, "JPEG", exif=b"Exif\0\0MM\0*"),
    "exif of eleven bytes": lambda image: saved(image, "WEBP", exif=b"II*\0\x08\0\0\0\x01\0\x12"),
    "broken profile": lambda image: saved(image, "JPEG", icc_profile=b"not at all"),
    "profile of another mode": lambda image: saved(image.convert("L"), "JPEG", icc_profile=srgb()),
}


@pytest.mark.parametrize("modified", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_pictures_look_as_they_should(make: Maker, modified: Callable[[Image.Image], bytes]) -> None:
    make(modified(portrait()))

    assert brightness(make.output) == pytest.approx(brightness(portrait()), abs=4)


@pytest.mark.parametrize(
    ("kind", "is_palette"), [("PNG", True), ("PNG", False), ("WEBP", False), ("AVIF", False), ("HEIF", False)]
)
def test_what_is_transparent_becomes_white(make: Maker, kind: str, *, is_palette: bool) -> None:
    image = quarters().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 160, 128))

    make(saved(image.quantize() if is_palette else image, kind))

    assert make.corners == [WHITE, LIME, BLUE, WHITE]


def test_colours_of_another_profile_are_converted(make: Maker) -> None:
    """In this profile red and blue have changed places."""
    swapped = srgb().replace(b"rXYZ", b"....").replace(b"bXYZ", b"rXYZ").replace(b"....", b"bXYZ")

    make(saved(quarters(), "PNG", icc_profile=swapped))

    assert make.corners == [BLUE, LIME, RED, WHITE]


REFUSED: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "nothing": (lambda: b"", Refusal.NOT_AN_IMAGE),
    "a text": (lambda: b"Hello!", Refusal.NOT_AN_IMAGE),
    "another kind of picture": (lambda: saved(Image.new("L", (300, 300)), "GIF"), Refusal.NOT_AN_IMAGE),
    "a sound": (sound, Refusal.NOT_AN_IMAGE),
    "a side too short": (lambda: saved(Image.new("L", (256, 255))), Refusal.IMAGE_TOO_SMALL),
    "too many pixels": (lambda: png(10_000, 5_001), Refusal.IMAGE_TOO_LARGE),
    "most pixels that a png may claim": (lambda: png(2**31 - 1, 2**31 - 1), Refusal.IMAGE_TOO_LARGE),
    "too many pixels, progressive": (lambda: jpeg_claiming(10_000, 5_001, progressive=True), Refusal.IMAGE_TOO_LARGE),
    "too many pixels, baseline": (lambda: jpeg_claiming(13_000, 10_001), Refusal.IMAGE_TOO_LARGE),
    "most pixels that a jpeg may claim": (lambda: jpeg_claiming(65_500, 65_500), Refusal.IMAGE_TOO_LARGE),
    "most pixels that a webp may claim": (
        lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff" * 2,
        Refusal.IMAGE_TOO_LARGE,
    ),
    "no pixels": (lambda: png(600, 600), Refusal.IMAGE_DAMAGED),
    "a text that unpacks to megabytes": (
        lambda: png(600, 600, (b"zTXt", b"bomb\0\0" + zlib.compress(bytes(8 << 20), 9))),
        Refusal.IMAGE_DAMAGED,
    ),
}


@pytest.mark.parametrize(("data", "refusal"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_used_is_refused(make: Maker, data: Callable[[], bytes], refusal: Refusal) -> None:
    assert make.refusal(data()) is refusal


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_cut_short_is_refused(make: Maker, kind: str) -> None:
    assert make.refusal(photo(kind)[:-20_000]) is Refusal.IMAGE_DAMAGED


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(PICTURES), where=st.floats(0, 1), junk=st.binary(min_size=1, max_size=40))
def test_no_damage_does_worse_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, kind: str, where: float, junk: bytes
) -> None:
    data = bytearray(saved(quarters(), kind))
    start = int(where * len(data))
    data[start : start + len(junk)] = junk
    make = Maker(tmp_path_factory.getbasetemp())
    try:
        make(bytes(data))
    except MediaRefused:
        assert not make.target.exists()


def test_trouble_of_this_machine_is_not_blamed_on_the_picture(tmp_path: Path, make: Maker) -> None:
    make(saved(quarters()))

    with pytest.raises(FileNotFoundError):
        make_picture(tmp_path / "gone", make.target)
    with pytest.raises(FileNotFoundError):
        make_picture(make.source, tmp_path / "gone" / "photo.jpg")


def brightness(image: Image.Image) -> float:
    return float(np.asarray(image.convert("L")).mean())


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
