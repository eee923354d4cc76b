"""Turning it on, where the settings say so; the packages are loaded only then."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from bot.config import Settings, SettingsError
from bot.logs import Censor
from bot.watching.steps import open_span

_LOCK = "requirements-observability.lock"


def missing(settings: Settings) -> list[str]:
    """A sentence for each setting whose package is not installed."""
    wanted = (
        (settings.sentry_dsn, "SENTRY_DSN", "sentry_sdk"),
        (settings.otel_exporter_otlp_endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry"),
    )
    return [
        f"{name} needs packages that are not installed: install {_LOCK} instead of requirements.lock"
        for value, name, package in wanted
        if value and find_spec(package) is None
    ]


@contextmanager
def observed(settings: Settings, censor: Censor) -> Iterator[None]:
    """Report to Sentry and OpenTelemetry until the end of the block; then send what is left, within seconds.

    Nothing leaves that the censor has not seen. Raises `SettingsError`.
    """
    if problems := missing(settings):
        raise SettingsError(problems)
    with ExitStack() as stack:
        if settings.sentry_dsn is not None:
            from bot.watching import sentry  # noqa: PLC0415

            stack.enter_context(sentry.reporting(settings.sentry_dsn.get_secret_value(), censor))
        if settings.otel_exporter_otlp_endpoint is not None:
            from bot.watching import tracing  # noqa: PLC0415

            headers = settings.otel_exporter_otlp_headers
            tracer = stack.enter_context(
                tracing.exporting(
                    settings.otel_exporter_otlp_endpoint, headers.get_secret_value() if headers else "", censor
                )
            )
            token = open_span.set(tracer)
            stack.callback(open_span.reset, token)
        yield
