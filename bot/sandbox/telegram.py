"""A local Bot API server: `BotApi` speaks https://core.telegram.org/bots/api, and lets tests and the demo be people."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.sandbox.chats import Chat
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import Files, Raw
from bot.sandbox.forms import read_parameters
from bot.sandbox.members import Status
from bot.sandbox.methods import Methods
from bot.sandbox.stand_in import Call, Fault, StandIn, always
from bot.sandbox.updates import Updates

_MOST_BYTES_UP = 50 << 20
_MOST_BYTES_UP_LOCALLY = 2000 * 1000 * 1000
_ROOM_FOR_FORM_BYTES = 1 << 20


class BotApi(StandIn):
    """The server behind one bot.

        api = BotApi()
        async with api.serving() as root_url:
            ada = api.private_chat(user_id=7, first_name="Ada")
            await ada.send_photo(Path("me.jpg"))
            video = await ada.wait_for(lambda message: message.video)
            video.file.data

    `calls` has every method that the bot called, oldest first, with its parameters decoded.
    """

    def __init__(
        self,
        token: str = "1234567:TheSandboxHasNoSecretsToKeepFromYou",  # noqa: S107 - opens nothing
        *,
        username: str = "talking_photo_bot",
        reads_all_group_messages: bool = False,
        local_folder: Path | None = None,
        webhook_retry_seconds: float = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` gives seconds since the epoch.

        With `local_folder` it is a server that was started with `--local`, and keeps its files there
        (https://core.telegram.org/bots/api#using-a-local-bot-api-server).
        A webhook that fails is posted to again after `webhook_retry_seconds`, and then twice as long each time.
        """
        either = ["GET", "POST"]
        super().__init__(
            [
                Route("/bot{token}/{method}", self._call, methods=either),
                Route("/file/bot{token}/{path:path}", self._download),
            ],
            now,
        )
        self.token = token
        self.me: Raw = {
            "id": int(token.partition(":")[0]),
            "is_bot": True,
            "first_name": "Talking Photo",
            "username": username,
            "can_join_groups": True,
            "can_read_all_group_messages": reads_all_group_messages,
            "supports_inline_queries": False,
        }
        self.files = Files()
        self.updates = Updates(self, first_id=self.now_ms % 10**9, webhook_retry_seconds=webhook_retry_seconds)
        self.people: dict[int, Raw] = {}
        self._chats: dict[int, Chat] = {}
        self._is_local = local_folder is not None
        self._methods = Methods(self.me, self._chats, self.files, self.updates, now, local_folder=local_folder)

    # --- people ---

    def user(self, user_id: int, *, first_name: str = "Ada", language_code: str = "en") -> Raw:
        """Somebody, whom Telegram knows from now on."""
        user = {"id": user_id, "is_bot": False, "first_name": first_name, "language_code": language_code}
        self.people[user_id] = user
        return user

    def private_chat(self, user_id: int = 7, *, first_name: str = "Ada", language_code: str = "en") -> Chat:
        """The chat of one person with the bot."""
        owner = self.user(user_id, first_name=first_name, language_code=language_code)
        raw = {"id": user_id, "type": "private", "first_name": first_name}
        return self._chats.setdefault(user_id, Chat(self, raw, owner=owner))

    def group(
        self,
        chat_id: int = -1001234567890,
        *,
        title: str = "Friends",
        topics: Sequence[int] = (),
        bot: Status = "member",
    ) -> Chat:
        """A group in which the bot is, or what `bot` says; `topics` are the thread ids of a forum."""
        kind = "supergroup" if chat_id < -(10**12) else "group"
        raw = {"id": chat_id, "type": kind, "title": title} | ({"is_forum": True} if topics else {})
        return self._chats.setdefault(chat_id, Chat(self, raw, topics=topics, bot=bot))

    # --- what the bot tells of itself ---

    def commands(self, scope: Raw | None = None, language_code: str = "") -> list[Raw]:
        """The commands set for exactly this scope (a BotCommandScope; None is the default one) and language."""
        return self._methods.profile.commands(scope, language_code)

    def profile(self, name: str, language_code: str = "") -> str:
        """What was set as `name`, `description` or `short_description` for exactly this language."""
        return self._methods.profile.words(name, language_code)

    # --- trouble ---

    def fail(
        self,
        method: str,
        status: int,
        description: str | None = None,
        *,
        acts: bool = False,
        times: int = 1,
        when: Callable[[Call], bool] = always,
        **parameters: Any,
    ) -> None:
        """Refuse the next calls of `method`, which may be a pattern such as `send*`.

        `parameters` go into the answer: `retry_after=3` (seconds), `migrate_to_chat_id=…`. With `acts` the method is
        carried out all the same.
        """
        if description is None:
            description = HTTPStatus(status).phrase
            if "retry_after" in parameters:
                description += f": retry after {parameters['retry_after']}"
        refusal = _refusal(BotApiError(status, description, **parameters))
        self.faults.append(Fault(method, refusal, acts=acts, times=times, when=when))

    # --- HTTP ---

    async def _call(self, request: Request) -> Response:
        if request.path_params["token"] != self.token:
            return _refusal(BotApiError(401, "Unauthorized"))
        method = request.path_params["method"]
        try:
            most_bytes = _MOST_BYTES_UP_LOCALLY if self._is_local else _MOST_BYTES_UP
            parameters = await read_parameters(request, most_bytes=most_bytes + _ROOM_FOR_FORM_BYTES)
        except BotApiError as error:
            return _refusal(error)
        call = Call(method, parameters, self.now_ms, dict(request.headers))
        return await self.answer(call, partial(self._carry_out, call))

    async def _carry_out(self, call: Call) -> Response:
        try:
            result = await self._methods.call(call.name, call.parameters)
        except BotApiError as error:
            return _refusal(error)
        await self.announce()
        return JSONResponse({"ok": True, "result": result})

    async def _download(self, request: Request) -> Response:
        """https://core.telegram.org/bots/api#getfile: neither the name nor the MIME type is kept."""
        file = self.files.by_path(request.path_params["path"])
        if request.path_params["token"] != self.token or file is None or self._is_local:
            return _refusal(BotApiError(404, "Not Found"))
        call = Call("file", {"file_id": file.file_id}, self.now_ms, dict(request.headers))

        async def hand_out() -> Response:
            return Response(file.data, media_type="application/octet-stream")

        return await self.answer(call, hand_out)


def _refusal(error: BotApiError) -> Response:
    body = {"ok": False, "error_code": error.status, "description": error.description}
    return JSONResponse(body | ({"parameters": error.parameters} if error.parameters else {}), error.status)
