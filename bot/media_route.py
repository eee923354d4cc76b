"""Signed, expiring media. Both stores look alike from outside; GET, HEAD and Range are answered."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bot.clock import Clock
from bot.patience import SECOND_MS
from storage.objects import MediaSigner, ObjectMissing, ObjectStore, StoreUnavailable, Verdict, content_type


def media_route(store: ObjectStore, signer: MediaSigner, clock: Clock) -> Route:
    """Answer the URLs that `signer` makes with the objects of `store`."""

    async def media(request: Request) -> Response:
        expires, signature, key = (request.path_params[name] for name in ("expires", "signature", "key"))
        match signer.verify(expires, signature, key):
            case Verdict.FORGED:
                raise HTTPException(404)
            case Verdict.EXPIRED:
                raise HTTPException(410)
        left_seconds = max(0, int(expires) - clock.now() // SECOND_MS)
        return _Media(store, key, max_age_seconds=left_seconds)

    return Route("/media/{expires}/{signature}/{key:path}", media, methods=["GET", "HEAD"])


class _Media(Response):
    """Streams an object, which is held open for as long as that takes."""

    def __init__(self, store: ObjectStore, key: str, *, max_age_seconds: int) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self._fixed_headers = {
            "Cache-Control": f"private, max-age={max_age_seconds}",
            "Content-Disposition": "inline",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._store.open(self._key) as path:
                response = FileResponse(path, media_type=content_type(self._key), headers=self._fixed_headers)
                await response(scope, receive, send)
        except ObjectMissing:
            await PlainTextResponse("not found\n", status_code=404)(scope, receive, send)
        except StoreUnavailable:
            await PlainTextResponse("try again later\n", status_code=503)(scope, receive, send)
