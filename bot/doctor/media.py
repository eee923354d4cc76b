"""The store of media, and what AKOOL finds when it fetches from there."""

import errno
import secrets
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette

from bot.addresses import LOOPBACK
from bot.config import Settings
from bot.doctor.patient import NotChecked, Patient, Probe
from bot.doctor.report import Finding, ok, problem, warning
from bot.media_route import media_route
from bot.patience import SECOND_MS
from bot.resources import Keys, open_store, scratch_folder
from bot.server import serving
from storage.objects import MediaSigner, ObjectStore, StoreError, content_type, new_key

_PROBE_BYTES = 4096
_PROBE_LIFE_SECONDS = 600
_SIGNED_WITH_SESSION = "X-Amz-Security-Token="


async def store(patient: Patient) -> list[Finding]:
    """Put an object, get it back, delete it; another one stays for the checks that follow."""
    settings, stack = patient.settings, patient.stack
    where = "the bucket" if settings.stores_in_s3 else "the media folder"
    try:
        keys = Keys.of(settings)
        scratch = stack.enter_context(scratch_folder(settings.data_dir))
        signer = MediaSigner(keys.media, settings.public_url or "", now=lambda: patient.clock.now() / SECOND_MS)
        opened = await stack.enter_async_context(open_store(settings, signer, scratch))
        source = scratch / "probe"
        probe = Probe(new_key("in", "jpg"), secrets.token_bytes(_PROBE_BYTES))
        source.write_bytes(probe.content)
        gone = new_key("in", "jpg")
        await opened.put(gone, source)
        async with opened.open(gone) as path:
            is_same = path.read_bytes() == probe.content
        await opened.delete(gone)
        await opened.put(probe.key, source)
    except (StoreError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error) or "what was put there is not there"
        return [problem("store", f"The store does not work: {why}.", _remedy(settings))]
    stack.push_async_callback(_delete, opened, probe.key)
    if not is_same:
        return [problem("store", f"What is read from {where} is not what was written there.", _remedy(settings))]
    patient.store, patient.signer, patient.probe = opened, signer, probe
    return [ok("store", f"An object was put into {where}, read and deleted.")]


async def _delete(opened: ObjectStore, key: str) -> None:
    with suppress(StoreError):  # the sweeper takes what is left
        await opened.delete(key)


def _remedy(settings: Settings) -> str:
    if settings.stores_in_s3:
        return "See whether MEDIA_STORE names the bucket, and the AWS_* variables an account that may write to it."
    return "Give the bot's user the right to write to MEDIA_STORE, and make room there."


async def listening(patient: Patient) -> list[Finding]:
    """Serve media here for the checks that follow, unless the bot does so already."""
    settings = patient.settings
    if patient.store is None or patient.signer is None:
        raise NotChecked("the store does not work")
    place = f"HOST:PORT ({settings.host}:{settings.port})"
    application = Starlette(routes=[media_route(patient.store, patient.signer, patient.clock)])
    application.router.redirect_slashes = False
    try:
        await patient.stack.enter_async_context(serving(application, host=settings.host, port=settings.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE and patient.bot_runs is not False:
            return [ok("listen", f"{place} is taken, by the running bot it seems; the checks below tell.")]
        return [
            problem(
                "listen",
                f"The bot can't listen at {place}: {error.strerror or error}.",
                "Choose another PORT or HOST, or stop the program that listens there.",
            )
        ]
    return [ok("listen", f"{place} is free; the doctor listened there meanwhile.")]


async def fetch(patient: Patient) -> list[Finding]:
    """Do what AKOOL will do with a photo: HEAD perhaps, GET surely."""
    if patient.store is None or patient.probe is None:
        raise NotChecked("the store does not work")
    url = patient.store.url(patient.probe.key, ttl_seconds=_PROBE_LIFE_SECONDS)
    trouble = _out_of_reach(url, patient.settings) or await _trouble(patient.http, url, patient.probe)
    if trouble:
        found = f"AKOOL could not fetch media: {trouble}."
        return [problem("media.fetch", found, _way_out(patient)), *_session(url)]
    patient.is_fetched = True
    return [
        ok("media.fetch", "A photo was fetched from where AKOOL will fetch it, with the right type and no redirect."),
        await _head(patient, url, patient.probe),
        *_session(url),
    ]


async def _trouble(http: httpx.AsyncClient, url: str, probe: Probe) -> str | None:
    """What is wrong with the answer to a GET, in words that hold no URL."""
    try:
        response = await http.get(url, follow_redirects=False)
    except httpx.HTTPError as error:
        return f"the address can't be reached ({type(error).__name__})"
    if response.is_redirect:
        return f"the address redirects elsewhere (HTTP {response.status_code})"
    if response.status_code != HTTPStatus.OK:
        return f"the address answers HTTP {response.status_code}"
    if response.content != probe.content:
        return "something else is answered than what was stored"
    if _type(response) != content_type(probe.key):
        return f"a JPEG is said to be {_type(response) or 'of no type'}"
    return None


async def _head(patient: Patient, url: str, probe: Probe) -> Finding:
    try:
        response = await patient.http.head(url, follow_redirects=False)
    except httpx.HTTPError as error:
        answer = type(error).__name__
    else:
        is_right = _type(response) == content_type(probe.key)
        if response.status_code == HTTPStatus.OK and is_right:
            return ok("media.head", "HEAD is answered, too.")
        answer = f"HTTP {response.status_code}" if is_right or not response.is_success else "another type than GET"
    do = (
        "Set PUBLIC_URL and MEDIA_DELIVERY=proxy if AKOOL says that it can't fetch: a presigned URL is for GET alone."
        if not patient.settings.serves_media
        else "Let what stands before the bot pass HEAD on."
    )
    return warning("media.head", f"HEAD at the address of a photo gives {answer}; some services ask so first.", do)


def _session(url: str) -> list[Finding]:
    if _SIGNED_WITH_SESSION not in url:
        return []
    return [
        warning(
            "media.session",
            "The addresses that AKOOL gets are signed by temporary credentials, and end with them.",
            "Use lasting credentials for the bucket, or MEDIA_DELIVERY=proxy.",
        )
    ]


def _out_of_reach(url: str, settings: Settings) -> str | None:
    """Why AKOOL, which is elsewhere, can't even try."""
    if settings.akool_is_local:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not _is_public(host):
        return f"{host} is an address on this machine or network only"
    return None if parts.scheme == "https" else "the address is not https"


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return host not in LOOPBACK and "." in host


def _way_out(patient: Patient) -> str:
    if patient.settings.serves_media:
        return "Let PUBLIC_URL be an https address whose tunnel or proxy leads to HOST:PORT of the bot."
    if patient.settings.media_delivery == "presign":
        return "Let the bucket's endpoint be an https address that the internet reaches, or set MEDIA_DELIVERY=proxy."
    return "Let MEDIA_DELIVERY be the https root under which the bucket's objects are public."


async def public_url(patient: Patient) -> list[Finding]:
    """Fetch, through the outside, what only a process with our secret and our store can give."""
    if patient.settings.public_url is None:
        return [ok("public-url", "PUBLIC_URL is not set, and not needed.")]
    if patient.signer is None or patient.probe is None:
        raise NotChecked("the store does not work")
    if patient.settings.serves_media and not patient.is_fetched:
        raise NotChecked("media.fetch, which goes the same way, tells what is wrong")
    url = patient.signer.url(patient.probe.key, ttl_seconds=_PROBE_LIFE_SECONDS)
    if trouble := await _trouble(patient.http, url, patient.probe):
        return [
            problem(
                "public-url",
                f"PUBLIC_URL does not lead to this bot: {trouble}.",
                "Let its tunnel or proxy lead to HOST:PORT; where several replicas run, give all the same APP_SECRET.",
            )
        ]
    return [ok("public-url", "PUBLIC_URL leads to this very bot.")]


def _type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()[:60]
