"""Spans to an OpenTelemetry collector: each step of a job, and each HTTP request that it makes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.re import parse_env_headers

from bot.logs import Censor
from bot.version import VERSION
from bot.watching.steps import OpenSpan

_EXPORT_SECONDS = 3
_WAITING = 2048


@contextmanager
def exporting(endpoint: str, headers: str, censor: Censor) -> Iterator[OpenSpan]:
    """Send spans to `<endpoint>/v1/traces` (OTLP over HTTP) until the end of the block; gives what opens one.

    `headers` as in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value`, with commas between.
    """
    to_collector = OTLPSpanExporter(
        f"{endpoint}/v1/traces", headers=parse_env_headers(headers, liberal=True), timeout=_EXPORT_SECONDS
    )
    resource = Resource.create({"service.name": "talkbot", "service.version": VERSION})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    # One batch holds all that may wait, so that the end takes no more than two exports' time.
    batch = BatchSpanProcessor(
        _Censoring(to_collector, censor), max_queue_size=_WAITING, max_export_batch_size=_WAITING
    )
    provider.add_span_processor(batch)
    tracer = provider.get_tracer("bot")

    def open_span(name: str, facts: Mapping[str, Any]) -> AbstractContextManager[object]:
        return tracer.start_as_current_span(name, attributes=dict(facts))

    propagator = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([]))  # our trace ids are no business of Telegram's or AKOOL's
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    try:
        yield open_span
    finally:
        HTTPXClientInstrumentor().uninstrument()
        propagate.set_global_textmap(propagator)
        provider.shutdown()


class _Censoring(SpanExporter):
    """Passes spans on with every string in them censored: URLs hold tokens, and so may what an exception says."""

    def __init__(self, inner: SpanExporter, censor: Censor) -> None:
        self._inner = inner
        self._censor = censor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._inner.export([self._censored(span) for span in spans])

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def _censored(self, span: ReadableSpan) -> ReadableSpan:
        status = span.status
        return ReadableSpan(
            self._censor(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._facts(span.attributes),
            events=[Event(self._censor(it.name), self._facts(it.attributes), it.timestamp) for it in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(status.status_code, self._censor(status.description) if status.description else None),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _facts(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: self._value(value) for name, value in (attributes or {}).items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._censor(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self._value(each) for each in value]
        return value
