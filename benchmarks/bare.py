"""The same job with nothing around it: the yardstick for the bot's CPU time.

It does what no bot can leave out: getUpdates, getFile and both downloads; the bot's own media functions, in as many
threads; the bot's own local store, synced to disk, and its signed URLs, served by the same server; one create call,
the opened callback, one question, the result's download and the check that it is whole; a status message that is sent,
edited and deleted, two chat actions, and the video with its thumbnail, as a reply. All HTTP is plain httpx.

It leaves out what makes that a service: a database (what it knows stands in memory and dies with it), states, claims
and repeated tries, access, limits, queues and fairness, python-telegram-bot, logs, and every answer to trouble.
"""

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

import akool
from bot import texts
from bot.media import Clip, Studio
from bot.server import serving
from storage.objects import LocalStore, MediaSigner, content_type, new_key

_DAY_SECONDS = 24 * 3600


@dataclass
class Draft:
    photo_key: str = ""
    status_id: int = 0
    voice_id: int = 0


class Bare:
    def __init__(self, http: httpx.AsyncClient, studio: Studio, store: LocalStore, folder: Path) -> None:
        self._http = http
        self._studio = studio
        self._store = store
        self._folder = folder
        self._api = f"{os.environ['TELEGRAM_API_URL']}/bot{os.environ['TELEGRAM_BOT_TOKEN']}"
        self._files = f"{os.environ['TELEGRAM_API_URL']}/file/bot{os.environ['TELEGRAM_BOT_TOKEN']}"
        self._akool = f"{os.environ['AKOOL_API_URL']}/api/open/v3/content/video"
        self._key = {"x-api-key": os.environ["AKOOL_API_KEY"]}
        self._drafts: dict[int, Draft] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/akool/{chat_id:int}", self._callback, methods=["POST"]),
                Route("/media/{expires}/{signature}/{key:path}", self._media),
            ]
        )

    async def poll(self) -> None:
        offset = 0
        while True:
            for update in await self._call("getUpdates", offset=offset, timeout=50):
                offset = update["update_id"] + 1
                self._spawn(self._hear(update["message"]))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the job ---

    async def _hear(self, message: dict[str, Any]) -> None:
        chat_id = message["chat"]["id"]
        with TemporaryDirectory(dir=self._folder) as folder:
            source, target = Path(folder, "source"), Path(folder, "target")
            if "photo" in message:
                await self._download(message["photo"][-1]["file_id"], source)
                await self._studio.picture(source, target)
                draft = self._drafts[chat_id] = Draft(photo_key=await self._keep(target, "jpg"))
                draft.status_id = await self._say(chat_id, message["message_id"], texts.STATUS_ONLY_PHOTO)
                return
            await self._download(message["voice"]["file_id"], source)
            await self._studio.sound(source, target, max_seconds=120)
            draft = self._drafts[chat_id]
            draft.voice_id = message["message_id"]
            await self._submit(chat_id, draft, await self._keep(target, "mp3"))

    async def _submit(self, chat_id: int, draft: Draft, voice_key: str) -> None:
        wish = {
            "talking_photo_url": self._store.url(draft.photo_key, ttl_seconds=_DAY_SECONDS),
            "audio_url": self._store.url(voice_key, ttl_seconds=_DAY_SECONDS),
            "webhookUrl": f"{os.environ['PUBLIC_URL']}/akool/{chat_id}",
        }
        await self._http.post(f"{self._akool}/createbytalkingphoto", json=wish, headers=self._key)
        await self._call("sendChatAction", chat_id=chat_id, action="record_video")
        text = texts.STATUS_RENDERING.format(estimate="")
        await self._call("editMessageText", chat_id=chat_id, message_id=draft.status_id, text=text)

    async def _callback(self, request: Request) -> Response:
        callback = akool.open_callback(
            await request.body(),
            client_id=os.environ["AKOOL_CLIENT_ID"],
            client_secret=os.environ["AKOOL_API_KEY"],
        )
        self._spawn(self._deliver(request.path_params["chat_id"], callback.id))
        return Response()

    async def _deliver(self, chat_id: int, video_id: str) -> None:
        draft = self._drafts.pop(chat_id)
        await self._call("sendChatAction", chat_id=chat_id, action="upload_video")
        question = {"video_model_id": video_id}
        answer = await self._http.get(f"{self._akool}/infobymodelid", params=question, headers=self._key)
        with TemporaryDirectory(dir=self._folder) as folder:
            source, thumbnail = Path(folder, "result.mp4"), Path(folder, "thumbnail.jpg")
            await self._stream(answer.json()["data"]["video"], source)
            clip = await self._studio.clip(source)
            key = await self._keep(source, "mp4")
            await self._studio.thumbnail(source, thumbnail)
            async with self._store.open(key) as stored:
                await self._send_video(chat_id, draft.voice_id, stored, clip, thumbnail)
        await self._call("deleteMessage", chat_id=chat_id, message_id=draft.status_id)

    async def _send_video(self, chat_id: int, voice_id: int, video: Path, clip: Clip, thumbnail: Path) -> None:
        fields = {
            "chat_id": chat_id,
            "width": clip.width,
            "height": clip.height,
            "duration": clip.duration_ms // 1000,
            "supports_streaming": "true",
            "reply_parameters": json.dumps({"message_id": voice_id}),
            "thumbnail": "attach://thumbnail_file",
        }
        with video.open("rb") as video_file:
            files: dict[str, tuple[str, IO[bytes] | bytes, str]] = {
                "video": ("video.mp4", video_file, "video/mp4"),
                "thumbnail_file": ("thumbnail.jpg", thumbnail.read_bytes(), "image/jpeg"),
            }
            response = await self._http.post(f"{self._api}/sendVideo", data=fields, files=files)
            response.raise_for_status()

    # --- files ---

    async def _media(self, request: Request) -> Response:
        async with self._store.open(request.path_params["key"]) as path:
            return FileResponse(path, media_type=content_type(request.path_params["key"]))

    async def _keep(self, source: Path, extension: Literal["jpg", "mp3", "mp4"]) -> str:
        key = new_key("in", extension)
        await self._store.put(key, source)
        return key

    async def _download(self, file_id: str, target: Path) -> None:
        file = await self._call("getFile", file_id=file_id)
        await self._stream(f"{self._files}/{file['file_path']}", target)

    async def _stream(self, url: str, target: Path) -> None:
        async with self._http.stream("GET", url) as response:
            with target.open("wb") as sink:
                async for chunk in response.aiter_bytes(1 << 16):
                    sink.write(chunk)

    # --- Telegram ---

    async def _say(self, chat_id: int, reply_to: int, text: str) -> int:
        about = {"message_id": reply_to}
        message = await self._call("sendMessage", chat_id=chat_id, text=text, reply_parameters=about)
        return int(message["message_id"])

    async def _call(self, method: str, **parameters: Any) -> Any:
        response = await self._http.post(f"{self._api}/{method}", json=parameters, timeout=65)
        return response.raise_for_status().json()["result"]


async def main() -> None:
    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True)
    studio = Studio()
    store = LocalStore(folder / "media", MediaSigner([b"bare"], os.environ["PUBLIC_URL"]))
    async with AsyncExitStack() as stack:
        stack.callback(studio.close)
        await store.start()
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=180, limits=httpx.Limits(max_connections=64)))
        bare = Bare(http, studio, store, folder)
        port = int(os.environ["PORT"])
        await stack.enter_async_context(serving(bare.application(), host="127.0.0.1", port=port))
        task = asyncio.create_task(bare.poll())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        with suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(main())
