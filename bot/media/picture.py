"""Any picture becomes an upright sRGB JPEG without metadata, its long side 1600 pixels at most."""

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from threading import Lock

from PIL import ExifTags, Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif import HeifImageFile

from bot.media.faces import has_face
from bot.media.guards import DECODER_ERRORS, blaming_file, whole_or_absent
from bot.media.refusals import MediaRefused, Refusal
from bot.media.results import Picture
from bot.media.sniff import ImageFormat, image_format

_LONG_SIDE = 1600
_QUALITY = 90
_LEAST_SIDE = 256
_MOST_PIXELS = 50_000_000
_MOST_PIXELS_BASELINE = 130_000_000  # such a JPEG is decoded at a half, a quarter or an eighth of its size

# Opened by class, since Image.open has its own pixel limit, which warns where ours still lets pass.
_OPENERS: Mapping[ImageFormat, type[ImageFile]] = {
    ImageFormat.JPEG: JpegImageFile,
    ImageFormat.PNG: PngImageFile,
    ImageFormat.WEBP: WebPImageFile,
    ImageFormat.HEIF: HeifImageFile,
    ImageFormat.AVIF: AvifImageFile,
}

_LARGE_PIXELS = 16_000_000
_one_large = Lock()  # at a time: decoding 50 megapixels may take 800 MB for a moment

_SRGB = ImageCms.createProfile("sRGB")

# What makes a picture upright that EXIF says is stored so.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def make_picture(source: Path, target: Path) -> Picture:
    """Write the picture `source` (its first frame, where it is animated) to the JPEG `target`.

    Raises `MediaRefused`, and leaves no target then; `OSError` where this machine is at fault (a full disk).
    """
    with whole_or_absent(target):
        kind = image_format(source)
        if kind is None:
            raise MediaRefused(Refusal.NOT_AN_IMAGE)
        picture = _decoded(source, _OPENERS[kind])
        picture.save(target, "JPEG", quality=_QUALITY)
        return Picture(picture.width, picture.height, has_face(picture))


def _decoded(source: Path, opener: type[ImageFile]) -> Image.Image:
    with (
        blaming_file(MediaRefused(Refusal.IMAGE_DAMAGED)),
        blaming_file(MediaRefused(Refusal.IMAGE_TOO_LARGE), (Image.DecompressionBombError,)),  # by the WebP opener
        opener(source) as image,
    ):
        _check_size(image)
        with _one_large if image.width * image.height > _LARGE_PIXELS else nullcontext():
            scaled = _scaled(image)
        picture = _in_srgb(_on_white(_upright(scaled)), image.info.get("icc_profile"))
    picture.info.clear()  # a comment would be saved too
    return picture


def _check_size(image: ImageFile) -> None:
    if min(image.size) < _LEAST_SIDE:
        raise MediaRefused(Refusal.IMAGE_TOO_SMALL)
    is_baseline = isinstance(image, JpegImageFile) and "progressive" not in image.info
    if image.width * image.height > (_MOST_PIXELS_BASELINE if is_baseline else _MOST_PIXELS):
        raise MediaRefused(Refusal.IMAGE_TOO_LARGE)


def _scaled(image: ImageFile) -> Image.Image:
    factor = min(1, _LONG_SIDE / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    image.draft(None, size)  # both sides as they will be: with (1600, 1600) only twice that height would be halved
    return _plain(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def _plain(image: ImageFile) -> Image.Image:
    """The picture in a mode that can be scaled smoothly: L, RGB, RGBA or CMYK."""
    image.load()  # what is transparent may stand behind the pixels
    if image.mode.startswith("I"):
        return image.point(lambda value: value / 256).convert("L")  # 16 bits; convert alone would clip
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode in {"L", "RGB", "CMYK"} else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; what else stands there is not even read, let alone written again."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return image  # EXIF that can't be read is no reason to refuse a picture
    return image if turn is None else image.transpose(turn)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image)
    return canvas


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        with suppress(OSError, ImageCms.PyCMSError):  # a broken profile, or one of another mode: as if there were none
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.buildTransform(source, _SRGB, image.mode, "RGB").apply(image)
    return image.convert("RGB")
