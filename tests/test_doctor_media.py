"""The doctor on media: the store, and whether AKOOL could fetch from it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from bot.doctor import Status
from bot.sandbox.server import serve
from checkups import amiss, examined, settings_of
from s3_servers import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY
from storage.objects import LocalStore
from world import free_port

WARNING, PROBLEM = Status.WARNING, Status.PROBLEM
MEDIA = ("store", "listen", "media.fetch", "public-url")


@asynccontextmanager
async def in_front(answer: Response, *, head: Response | None = None) -> AsyncIterator[str]:
    """The root URL of a proxy that answers so, whatever it is asked for."""

    async def reply(request: Request) -> Response:
        return head if head and request.method == "HEAD" else answer

    async with serve(Starlette(routes=[Route("/{path:path}", reply, methods=["GET", "HEAD"])])) as url:
        yield url


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RedirectResponse("https://elsewhere.test"), "redirects elsewhere (HTTP 307)"),
        (PlainTextResponse("no", 502), "HTTP 502"),
        (PlainTextResponse("<h1>Welcome to my tunnel</h1>"), "something else"),
    ],
    ids=["redirect", "refusal", "page"],
)
async def test_a_public_url_that_leads_elsewhere_is_a_problem(answer: Response, words: str, tmp_path: Path) -> None:
    async with in_front(answer) as url:
        findings = await examined(settings_of(tmp_path, public_url=url, port=free_port()), *MEDIA)

    assert amiss(findings) == {"media.fetch": PROBLEM, "public-url": WARNING}
    assert words in findings["media.fetch"].found


@pytest.mark.parametrize(
    ("get_type", "head", "expected"),
    [
        ("text/plain", None, {"media.fetch": PROBLEM, "public-url": WARNING}),
        ("image/jpeg; charset=binary", None, {}),
        ("image/jpeg", Response(status_code=405), {"media.head": WARNING}),
        ("image/jpeg", Response(media_type="text/html"), {"media.head": WARNING}),
    ],
    ids=["wrong type", "parameter", "no HEAD", "other HEAD"],
)
async def test_what_a_proxy_makes_of_our_media_is_seen(
    get_type: str,
    head: Response | None,
    expected: dict[str, Status],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy knows the bytes, since here all probes are the same."""
    monkeypatch.setattr("bot.doctor.media.secrets.token_bytes", bytes)
    async with in_front(Response(bytes(4096), headers={"Content-Type": get_type}), head=head) as url:
        findings = await examined(settings_of(tmp_path, public_url=url, port=free_port()), *MEDIA)

    assert amiss(findings) == expected


@pytest.mark.parametrize(
    ("public_url", "words"),
    [
        ("http://localhost:8080", "localhost is an address on this machine"),
        ("https://192.168.1.7", "192.168.1.7 is an address"),
        ("https://bot", "bot is an address"),
    ],
)
async def test_an_address_that_akool_cant_reach_is_not_even_tried(public_url: str, words: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, public_url=public_url, port=free_port(), akool_api_url="https://openapi.akool.com")

    assert words in (await examined(settings, *MEDIA))["media.fetch"].found


async def test_a_store_that_does_not_work_is_a_problem_and_the_rest_waits(tmp_path: Path) -> None:
    findings = await examined(settings_of(tmp_path, media_store="/dev/null/media"), *MEDIA)

    assert amiss(findings) == {"store": PROBLEM, "listen": WARNING, "media.fetch": WARNING, "public-url": WARNING}
    assert "Not a directory" in findings["store"].found


async def test_a_store_that_gives_other_bytes_back_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put_half(store: LocalStore, key: str, source: Path) -> None:
        (store._folder / key).write_bytes(source.read_bytes()[:99])

    monkeypatch.setattr(LocalStore, "put", put_half)
    findings = await examined(settings_of(tmp_path), "store")

    assert "not what was written" in findings["store"].found
    assert not list((tmp_path / "data" / "media" / "in").iterdir())


async def test_a_port_that_another_program_has_is_a_problem(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        settings = settings_of(tmp_path, port=stranger.getsockname()[1])
        findings = await examined(settings, "database", "store", "listen")

    assert amiss(findings) == {"listen": PROBLEM}


# --- S3 ---


@pytest.fixture
def s3(weed_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings for a real S3 server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", weed_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_REGION", REGION)
    return {"media_store": f"s3://{BUCKET}/doctor"}


async def test_presigned_urls_are_fetched_but_not_headed_and_public_url_is_tried_by_itself(
    s3: dict[str, Any], tmp_path: Path
) -> None:
    port = free_port()
    findings = await examined(settings_of(tmp_path, public_url=f"http://127.0.0.1:{port}", port=port, **s3), *MEDIA)

    assert amiss(findings) == {"media.head": WARNING}
    assert "HTTP 403" in findings["media.head"].found
    assert "MEDIA_DELIVERY=proxy" in (findings["media.head"].do or "")
    assert "this very bot" in findings["public-url"].found

    astray = await examined(settings_of(tmp_path, port=free_port(), **s3), *MEDIA)
    assert amiss(astray) == {"media.head": WARNING, "public-url": PROBLEM}


async def test_without_public_url_the_bucket_is_enough_and_by_proxy_all_is_answered(
    s3: dict[str, Any], tmp_path: Path
) -> None:
    alone = await examined(settings_of(tmp_path, public_url=None, port=free_port(), **s3), *MEDIA)
    port = free_port()
    proxy = {"public_url": f"http://127.0.0.1:{port}", "port": port, "media_delivery": "proxy"}

    assert amiss(alone) == {"media.head": WARNING}
    assert amiss(await examined(settings_of(tmp_path, **proxy, **s3), *MEDIA)) == {}


async def test_wrong_credentials_are_a_problem(
    s3: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    assert amiss(await examined(settings_of(tmp_path, public_url=None, **s3), "store")) == {"store": PROBLEM}


async def test_temporary_credentials_are_told(
    s3: dict[str, Any], moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_url)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for-an-hour")

    assert "media.session" in amiss(
        await examined(settings_of(tmp_path, public_url=None, **s3), "store", "media.fetch")
    )
