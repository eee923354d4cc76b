"""What stands around every decoder: whose fault an error is, and no half-written files."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.troubles import is_machines_own

# What the decoders of pictures and sound were seen to raise over hostile bytes; PyAV has its own errors besides.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    ValueError,  # among them: a sound that changes its rate, a PNG text that unpacks to megabytes
    MemoryError,
    ArithmeticError,
    LookupError,
    EOFError,
    SyntaxError,  # Pillow's word for a broken header
    TypeError,
    AttributeError,
    RuntimeError,
    struct.error,  # an EXIF header that breaks off
    Warning,  # where warnings are errors
)


@contextmanager
def blaming_file(verdict: Exception, errors: tuple[type[Exception], ...] = DECODER_ERRORS) -> Iterator[None]:
    """Raise `verdict` in place of a decoder's `errors`, but let our machine's own troubles through (a full disk)."""
    try:
        yield
    except errors as error:
        if is_machines_own(error):
            raise
        raise verdict from error


@contextmanager
def whole_or_absent(target: Path) -> Iterator[None]:
    """Remove `target` where the block that writes it fails."""
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise
