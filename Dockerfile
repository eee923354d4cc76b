# The base needs python3 (3.11 or later), its venv module and pip in the build stage, and python3 in the other.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# requirements-observability.lock holds Sentry and OpenTelemetry besides.
ARG LOCK=requirements.lock
WORKDIR /build
COPY ${LOCK} requirements.lock
# Without pip in it the environment is a third smaller; pip compiles the bytecode, which a read-only root can't.
RUN python3 -m venv --without-pip /venv \
 && python3 -m pip --python /venv/bin/python install --no-cache-dir --require-hashes --no-deps -r requirements.lock

FROM ${PYTHON_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="talkbot" \
      org.opencontainers.image.description="A Telegram bot that makes photos talk" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
# Everything that is written goes to DATA_DIR, temporary files too, so the root may be read-only and /tmp absent.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    TMPDIR=/data \
    HOST=0.0.0.0 \
    PORT=8080
COPY --from=build /venv /venv
WORKDIR /app
COPY akool akool
COPY storage storage
COPY bot bot
# The bytecode is not checked against the times of its sources, which some builders set to one moment.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash akool storage bot \
 && mkdir /data \
 && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-I", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
