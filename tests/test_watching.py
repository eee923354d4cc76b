"""What leaves for Sentry and for an OpenTelemetry collector: the right facts, and never a secret."""

import gzip
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bot.config import Settings, SettingsError
from bot.sandbox import BotApi
from bot.watchdog import Watchdog
from bot.watching import job_step, missing, observed, step
from clocks import TurnableClock
from databases import insert_job
from journal import journal
from scenes import ask_for_video, video_in
from storage.database import open_database
from storage.job import State
from world import world

SECRET = "an-api-key-of-ours"
TOKEN = "123456:ABC-def_secret"
REQUIRED: dict[str, Any] = {"telegram_bot_token": TOKEN, "akool_api_key": SECRET, "public_url": "https://bot.example"}
log = structlog.get_logger()


@dataclass
class Collector:
    """Takes whatever is posted to it."""

    url: str
    posts: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def all(self) -> str:
        return "".join(path + body.decode(errors="replace") for path, body in self.posts)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """In a thread of its own, since those who report wait for it when they end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_zipped = self.headers["Content-Encoding"] == "gzip"
            taker.posts.append((self.path, gzip.decompress(body) if is_zipped else body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        taker = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield taker
        server.shutdown()
        thread.join()


def settings(**wanted: Any) -> Settings:
    return Settings(_env_file=None, **REQUIRED, **wanted)  # type: ignore[call-arg]


async def test_sentry_hears_of_errors_with_their_job_and_of_no_secret(collector: Collector, tmp_path: Path) -> None:
    url = f"https://api.telegram.org/bot{TOKEN}/sendVideo"
    wanted = settings(sentry_dsn=collector.url.replace("//", "//public@") + "/1")
    async with open_database(f"sqlite:///{tmp_path / 'bot.sqlite3'}", now=lambda: 1) as database:
        job = await insert_job(database, State.SAVING)
    with journal(secrets=wanted.secrets()) as lines, observed(wanted, lines.censor), job_step("saving", job):
        local = f"{SECRET} and more"
        try:
            try:
                raise httpx.ConnectError(f"nobody at {url}")
            except httpx.ConnectError as error:
                raise RuntimeError(f"https://bot.example/media/1790000000/c2lnbmF0dXJl/in/k.jpg {local}") from error
        except RuntimeError:
            log.exception("a step failed", url="https://b.example/k?X-Amz-Signature=0123456789abcdef", key=SECRET)
        logging.getLogger("asyncio").error("a library's %s", SECRET)
        log.warning("it will pass")
        logging.getLogger("sqlalchemy.pool").error("it will pass, too")

    events = [json.loads(line) for _, body in collector.posts for line in body.splitlines() if b'"logentry"' in line]
    assert [event["logentry"]["message"] for event in events] == ["a step failed", "a library's [hidden]"]
    for event in events:
        assert event["tags"] == {"job": str(job.id), "chat": str(job.chat_id), "state": "saving"}
        assert event["level"] == "error"
        assert not {"server_name", "modules", "breadcrumbs", "request", "user"} & event.keys()
    raised = events[0]["exception"]["values"]
    assert [each["type"] for each in raised] == ["ConnectError", "RuntimeError"]
    assert all("vars" not in frame for each in raised for frame in each["stacktrace"]["frames"])
    assert_clean(collector)


def test_sentry_hears_the_last_words_of_a_process_that_ends_itself(collector: Collector) -> None:
    """They wait until they are sent, since nothing is tidied up after them."""
    wanted = settings(sentry_dsn=collector.url.replace("//", "//public@") + "/1")
    heard_at_the_end = []
    with journal() as lines, observed(wanted, lines.censor):
        watchdog = Watchdog(
            {"tracker": lambda: 0},
            TurnableClock(),
            limit_seconds=0,
            end=lambda: heard_at_the_end.append(collector.all),
        )
        watchdog.look()

    assert "the process ends itself" in heard_at_the_end[0]


async def test_spans_tell_of_each_step_of_a_job_and_of_its_requests_and_of_no_secret(
    collector: Collector, tmp_path: Path
) -> None:
    telegram = BotApi(TOKEN)
    wanted = settings(otel_exporter_otlp_endpoint=collector.url, otel_exporter_otlp_headers="api-key=of-the-collector")
    with journal(secrets=wanted.secrets()) as lines, observed(wanted, lines.censor):
        async with world(tmp_path, telegram=telegram) as here:
            await video_in(await ask_for_video(here))
        with pytest.raises(RuntimeError), step("broken"):
            raise RuntimeError(f"at https://api.telegram.org/bot{TOKEN}/sendVideo")

    assert {path for path, _ in collector.posts} == {"/v1/traces"}
    spans = spans_of(collector)
    by_name = {span.name: span for span in spans}
    assert {"update", "collecting", "submit", "callback", "saving", "delivering", "status"} <= by_name.keys()
    facts = {pair.key: pair.value for pair in by_name["delivering"].attributes}
    assert (facts["job"].int_value, facts["state"].string_value) == (1, "delivering")
    sent = [span for span in spans if span.parent_span_id == by_name["delivering"].span_id]
    urls = [
        pair.value.string_value for span in sent for pair in span.attributes if pair.key in ("http.url", "url.full")
    ]
    assert any(url.endswith("bot[hidden]/sendVideo") for url in urls)
    calls = [*here.telegram.calls, *here.akool.calls]
    assert not any("traceparent" in call.headers for call in calls), "our traces are no business of theirs"
    [event] = by_name["broken"].events
    assert "exception.stacktrace" in {pair.key for pair in event.attributes}
    assert_clean(collector)


def spans_of(collector: Collector) -> list[Any]:
    requests = [ExportTraceServiceRequest.FromString(body) for _, body in collector.posts]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def assert_clean(collector: Collector) -> None:
    """Nothing of what must not leave has left."""
    assert "[hidden]" in collector.all
    for piece in (SECRET, "ABC-def", "c2lnbmF0dXJl", "0123456789abcdef", "of-the-collector"):
        assert piece not in collector.all


@pytest.mark.parametrize(
    ("wanted", "package", "name"),
    [
        ({"sentry_dsn": "https://key@sentry.example/1"}, "sentry_sdk", "SENTRY_DSN"),
        ({"otel_exporter_otlp_endpoint": "http://collector:4318"}, "opentelemetry", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_what_is_wanted_but_not_installed_is_a_problem_of_the_settings(
    wanted: dict[str, str], package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing(settings(**wanted)) == []
    monkeypatch.setitem(sys.modules, package, None)
    says = rf"{name} .*requirements-observability\.lock"
    with pytest.raises(SettingsError, match=says), journal() as lines, observed(settings(**wanted), lines.censor):
        pytest.fail("it runs all the same")


def test_nothing_of_it_is_loaded_where_it_is_not_wanted() -> None:
    """A bot without these settings needs none of these packages, and pays nothing for them."""
    wanted = settings()
    loaded = {name for name in sys.modules if name.startswith(("sentry_sdk", "opentelemetry"))}
    with journal() as lines, observed(wanted, lines.censor), step("something"):
        assert {name for name in sys.modules if name.startswith(("sentry_sdk", "opentelemetry"))} == loaded


def test_what_opens_the_collector_is_a_secret() -> None:
    """Each value by itself, as a library would write it, and decoded."""
    given = settings(otel_exporter_otlp_headers="api-key=of-the-collector,Authorization=Basic%20YWRhOmFkYQ").secrets()
    assert {"of-the-collector", "Basic YWRhOmFkYQ"} <= set(given)


def test_a_dsn_must_look_like_one() -> None:
    with pytest.raises(SettingsError, match="SENTRY_DSN: must look like") as refused:
        settings(sentry_dsn="https://sentry.example/no-key")
    assert "no-key" not in str(refused.value)
