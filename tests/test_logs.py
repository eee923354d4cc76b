"""Logs never hold a secret, whoever writes them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from bot import logs
from journal import journal, restored_logging

TOKEN = "123456:ABC-def_secret"
SECRETS = [TOKEN, "an-api-key", "a/client+id=="]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with restored_logging():
        yield


def written(style: str, write: object) -> str:
    stream = io.StringIO()
    logs.set_up(style=style, level="DEBUG", secrets=SECRETS, stream=stream)  # type: ignore[arg-type]
    write()  # type: ignore[operator]
    return stream.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "123456%3AABC-def_secret",
        "an-api-key",
        "a%2Fclient%2Bid%3D%3D",
        "bot987654:another-token_of_somebody",
        "https://b.s3.example/in/k.jpg?X-Amz-Algorithm=AWS4&X-Amz-Signature=0123456789abcdef",
        "https://bot.example/media/1790000000/c2lnbmF0dXJl/in/k.jpg",
        "https://bot.example/akool/dG9rZW4tdG9rZW4tdG9rZW4",
        "Bearer abcdefghijk",
        "eyJhbGciOi.eyJpZCI6.c2lnbmVk",
        "https://proxy-user:proxy-password@proxy.example:3128",
        "Basic cHJveHktdXNlcjpwcm94eS1wYXNzd29yZA==",
        "{'url': 'https://bot.example', 'secret_token': 'telegram-secret'}",
    ],
)
def test_no_logger_lets_a_secret_through(style: str, secret: str) -> None:
    def write() -> None:
        structlog.get_logger().info("ours", url=secret)
        logging.getLogger("somebody.else").debug("theirs: %s", secret)
        try:
            raise RuntimeError(secret)
        except RuntimeError:
            structlog.get_logger().exception("with a traceback")
            logging.getLogger("somebody.else").exception("with a traceback")

    output = written(style, write)

    assert "with a traceback" in output
    assert "RuntimeError" in output
    for piece in ("ABC-def", "an-api-key", "client%2B", "another-token", "0123456789abcdef", "c2lnbmF0", "dG9rZW4t"):
        assert piece not in output
    for piece in ("abcdefghijk", "c2lnbmVk", "proxy-password", "cHJveHk", "telegram-secret"):
        assert piece not in output


def test_json_lines_are_json_with_the_keys_that_were_given() -> None:
    output = written("json", lambda: structlog.get_logger("bot.x").warning("it happened", job=7, chat=-1))
    line = json.loads(output)

    assert (line["event"], line["job"], line["chat"], line["level"]) == ("it happened", 7, -1, "warning")
    assert "timestamp" in line


def test_libraries_that_write_urls_are_kept_quiet_at_every_level() -> None:
    def write() -> None:
        for name in ("httpx", "httpcore", "botocore", "aiosqlite"):
            logging.getLogger(name).info("a URL")

    assert written("text", write) == ""


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_others_write_makes_no_line_of_its_own(style: str) -> None:
    """A name with a line break in it forges no entry, and no terminal obeys it."""
    name = "Ada\n2026-01-01 [error] all is lost \x1b[2J\r"
    output = written(style, lambda: structlog.get_logger().warning("somebody came", name=name))

    assert output.count("\n") == 1
    assert "\x1b" not in output
    assert "\r" not in output


def test_a_traceback_is_shown_once_while_its_trouble_goes_on() -> None:
    now = 0.0
    short = logs.Tracebacks(lambda: now)

    def shown(event: str, error: Exception) -> bool:
        try:
            raise error
        except Exception:  # noqa: BLE001 - as where it is logged
            return "exc_info" in short(None, "", {"event": event, "exc_info": True})

    assert [shown("it fails", OSError()) for _ in range(3)] == [True, False, False]
    assert shown("it fails", ValueError()), "another error"
    assert shown("something else fails", OSError()), "another event"
    now = 601
    assert shown("it fails", OSError()), "it may be another trouble by now"


def test_what_libraries_make_of_passing_troubles_is_no_error() -> None:
    """And strangers who speak no HTTP to us are not worth a line."""
    with journal() as log:
        logging.getLogger("sqlalchemy.pool.impl.QueuePool").error("a connection broke")
        logging.getLogger("telegram.request.BaseRequest").error("Can not load invalid JSON data")
        logging.getLogger("opentelemetry.exporter").error("the collector is away")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").info("Started server process")
        logging.getLogger("uvicorn.error").error("Exception in ASGI application")

    assert [line["level"] for line in log.lines] == ["warning", "warning", "warning", "error"]
