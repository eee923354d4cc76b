"""A local AKOOL: `Akool` speaks https://docs.akool.com for Talking Photo, from getToken to the signed callback."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from bot.sandbox.accounts import Account
from bot.sandbox.callbacks import Callbacks, Caller
from bot.sandbox.fetching import Unusable, fetch, measure
from bot.sandbox.stand_in import Call, Fault, StandIn, always
from bot.sandbox.talking import render_talking_photo
from bot.sandbox.videos import COMPLETED, FAILED, PROCESSING, Callback, Raw, Renderer, Video

log = logging.getLogger(__name__)

_API = "/api/open/v3"
_VIDEO_LIFE_MS = 7 * 24 * 3600 * 1000

# https://docs.akool.com/ai-tools-suite/error-code
_MESSAGES = {
    1000: "OK",
    1003: "Parameter error or Parameter can not be empty",
    1006: "Insufficient quota balance",
    1008: "The content you get does not exist",
    1015: "create video error, please try again later",
    1101: "Invalid authorization or the request token has expired",
    1102: "Authorization cannot be empty",
}


class Akool(StandIn):
    """The server, with one account.

        akool = Akool(render_seconds=3)
        async with akool.serving() as root_url: ...

    `creates` and `questions` are the calls as they came; `videos` has what was made of them, oldest first.
    """

    def __init__(
        self,
        *,
        client_id: str = "AKDt8rWEczpYPzCGur2xE0==",
        client_secret: str = "nmwUjMAK0PJpl0MOiXLOOOwZADm0gkLo",  # noqa: S107 - the manual's own example
        renderer: Renderer = render_talking_photo,
        render_seconds: float = 0,
        callbacks: Callbacks = "normal",
        callback_retry_seconds: float = 1,
        credit: int = 1000,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`client_secret` is the API key too. A render takes `render_seconds` and however long `renderer` needs.

        A callback that is not answered 200 is repeated after `callback_retry_seconds`, then after twice as long, four
        times in all. `now` gives seconds since the epoch.
        """
        super().__init__(
            [
                self._route("POST", f"{_API}/getToken", self._get_token, is_open=True),
                self._route("POST", f"{_API}/content/video/createbytalkingphoto", self._create),
                self._route("GET", f"{_API}/content/video/infobymodelid", self._info),
                self._route("GET", f"{_API}/faceswap/quota/info", self._quota, name="quota"),
                self._route("GET", "/{file_name}.mp4", self._video_file, name="video", is_open=True),
                Route("/{path:path}", _not_found, methods=["GET", "POST"]),
            ],
            now,
        )
        self.account = Account(client_id, client_secret, now)
        self.renderer = renderer
        self.render_seconds = render_seconds
        self.callbacks: Callbacks = callbacks
        self._caller = Caller(self, self.account, retry_seconds=callback_retry_seconds)
        self.credit = credit
        self.videos: list[Video] = []
        self._by_name: dict[str, Video] = {}
        self._failures: list[str] = []
        self._by_hand = False

    # --- what tests see and steer ---

    @property
    def creates(self) -> list[Call]:
        return [call for call in self.calls if call.name == "createbytalkingphoto"]

    @property
    def questions(self) -> list[Call]:
        return [call for call in self.calls if call.name == "infobymodelid"]

    def hold(self) -> None:
        """Let no further render end before `finish`."""
        self._by_hand = True

    async def finish(self, video: Video) -> None:
        """Let a held render end; returns when it has."""
        video.go.set()
        await self.wait_until(lambda: video.status in (COMPLETED, FAILED))

    def fail_next_render(self, reason: str) -> None:
        self._failures.append(reason)

    def fail(
        self,
        name: str,
        *,
        code: int | None = None,
        http_status: int = 200,
        headers: dict[str, str] | None = None,
        acts: bool = False,
        times: int = 1,
        when: Callable[[Call], bool] = always,
    ) -> None:
        """Refuse the next calls of `name`: `getToken`, `createbytalkingphoto`, `infobymodelid`, `quota`, `video`.

        Without a `code` the answer is a web page. With `acts` the call is carried out all the same.
        """
        response = (
            HTMLResponse(f"<h1>{http_status}</h1>", http_status, headers)
            if code is None
            else JSONResponse({"code": code, "msg": _MESSAGES.get(code, "error")}, http_status, headers)
        )
        self.faults.append(Fault(name, response, acts=acts, times=times, when=when))

    async def call_back(self, video: Video, content: Raw) -> Callback:
        """Post one callback about a video, once; `content` is what is sealed, beside `_id` and `type`."""
        return await self._caller.call_back(video, content)

    # --- a video's life ---

    async def _live(self, video: Video) -> None:
        video.status = PROCESSING
        if self.callbacks == "in pieces":
            await self._caller.insist(video, {"status": PROCESSING})
        await asyncio.sleep(self.render_seconds)
        await video.go.wait()
        await self._end(video)
        await self.announce()
        await self._caller.tell(video, self.callbacks, url=self._show(video)["video"])

    async def _end(self, video: Video) -> None:
        """Complete a video, or fail it and give its credits back."""
        try:
            if self._failures:
                raise RuntimeError(self._failures.pop(0))
            await video.render(self.renderer)
            video.complete(self.now_ms)
            self._by_name[video.file_name] = video
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a renderer
            log.warning("a render failed: %s", error)
            self.credit += video.credits
            video.fail(str(error))

    def _show(self, video: Video) -> Raw:
        return video.shown(self.root_url)

    # --- HTTP ---

    def _route(
        self, method: str, path: str, act: Callable[[Call], Any], *, name: str = "", is_open: bool = False
    ) -> Route:
        """A path whose calls are logged under `name`, refused without authorization unless open, and answered."""

        async def endpoint(request: Request) -> Response:
            parameters = {**request.query_params, **request.path_params, **_object(await request.body())}
            call = Call(name or path.rpartition("/")[2], parameters, self.now_ms, dict(request.headers))
            return await self.answer(call, partial(carry_out, call))

        async def carry_out(call: Call) -> Response:
            refusal = None if is_open else self.account.refusal(call.headers)
            return _coded(refusal) if refusal else await act(call)

        return Route(path, endpoint, methods=[method])

    async def _get_token(self, call: Call) -> Response:
        token = self.account.issue_token(call.parameters.get("clientId"), call.parameters.get("clientSecret"))
        return JSONResponse({"code": 1000, "token": token}) if token else _coded(1101)

    async def _create(self, call: Call) -> Response:
        wish = call.parameters
        if not _makes_sense(wish):
            return _coded(1003)
        try:
            photo, audio = await asyncio.gather(
                fetch(self.http, wish["talking_photo_url"], "image"), fetch(self.http, wish["audio_url"], "audio")
            )
            seconds = await measure(photo, audio)
        except Unusable as error:
            log.warning("create refused: %s", error)
            return _coded(1015)
        video = Video(wish, photo, audio, seconds, self.now_ms)
        if video.credits > self.credit:
            return _coded(1006)
        self.credit -= video.credits
        self.videos.append(video)
        self._by_name[video.id] = video
        answer = _coded(1000, self._show(video))
        if not self._by_hand:
            video.go.set()
        life = self.spawn(self._live(video))
        if self.callbacks == "early":
            await life
        return answer

    async def _info(self, call: Call) -> Response:
        video_id = call.parameters.get("video_model_id")
        if not video_id:
            return _coded(1003)
        video = self._by_name.get(video_id)
        return _coded(1000, self._show(video)) if video else _coded(1008)

    async def _quota(self, _call: Call) -> Response:
        return _coded(1000, {"credit": self.credit})

    async def _video_file(self, call: Call) -> Response:
        """https://docs.akool.com/ai-tools-suite/talking-photo: "valid for 7 days"."""
        video = self._by_name.get(f"{call.parameters['file_name']}.mp4")
        if video is None or self.now_ms > video.completed_at_ms + _VIDEO_LIFE_MS:
            return Response(status_code=404)
        return Response(video.data, media_type="video/mp4")


async def _not_found(_request: Request) -> Response:
    return JSONResponse({"status": 404, "msg": "Not Found"}, 404)


def _makes_sense(wish: Raw) -> bool:
    """https://docs.akool.com/ai-tools-suite/talking-photo/create-video: all are strings, the two URLs are required."""
    return (
        all(isinstance(value, str) for value in wish.values())
        and all(wish.get(name) for name in ("talking_photo_url", "audio_url"))
        and wish.get("resolution", "720") in {"720", "1080"}
    )


def _coded(code: int, data: Raw | None = None) -> Response:
    return JSONResponse({"code": code, "msg": _MESSAGES[code]} | ({"data": data} if data else {}))


def _object(body: bytes) -> Raw:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
