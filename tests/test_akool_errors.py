"""The error tree: what it draws is what it is, and what its messages keep to themselves."""

import inspect

import pytest

import akool
from akool import errors
from akool.errors import Accepted, AkoolError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AkoolError)]


def drawn() -> dict[str, list[str]]:
    """The rows of the tree in the module's docstring: class name and the columns after it."""
    rows = (line.partition("── ")[2].split() for line in (errors.__doc__ or "").splitlines() if "── " in line)
    return {name: columns for name, *columns in rows}


def test_the_drawn_tree_is_the_tree() -> None:
    """Every class is drawn, and each row says what the class says."""
    rows = drawn()

    assert set(rows) == {kind.__name__ for kind in CLASSES} - {"AkoolError"}
    for name, columns in rows.items():
        kind = getattr(errors, name)
        stated = [kind.fault.name, "yes" if kind.retryable else "no", kind.accepted.name]
        assert stated == (columns or rows[kind.__base__.__name__])


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_public(kind: type[AkoolError]) -> None:
    """Whoever uses the package can catch it by its name."""
    assert getattr(akool, kind.__name__) is kind


def test_an_error_tells_what_happened_and_keeps_the_vendors_words_apart() -> None:
    """The message is our own sentence; `msg`, which may quote anything, is an attribute only."""
    error = errors.Busy("detail", code=1005, http_status=429, msg="https://secret", retry_after_seconds=7)

    assert str(error) == "AKOOL asks to come back later: detail, code 1005, HTTP 429"
    assert (error.msg, error.retry_after_seconds, error.accepted) == ("https://secret", 7, Accepted.NO)
