"""The Bot API's methods, as https://core.telegram.org/bots/api describes them and its server words their refusals."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.sandbox import composing
from bot.sandbox.chats import Chat, Message
from bot.sandbox.entities import utf16_length
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import MEDIA_KINDS, File, Files, Raw
from bot.sandbox.profile import Profile
from bot.sandbox.updates import Updates, Webhook

_MOST_DELETED = 100
_MOST_BYTES_DOWN = 20 << 20
_LONGEST_CALLBACK_ANSWER = 200
_MEDIA_METHODS = {f"send{kind.replace('_', '')}": kind for kind in MEDIA_KINDS}
_PROFILE_METHODS = {
    f"{verb}my{name.replace('_', '')}": (verb, name)
    for name in ("commands", "description", "short_description", "name")
    for verb in ("set", "get", "delete")
    if verb != "delete" or name == "commands"
}
_SECRET_TOKEN = re.compile(r"[A-Za-z0-9_-]{0,256}")
_WEBHOOK_ROOTS = ("https://", "http://127.0.0.1", "http://localhost")  # plain http as a server with --local allows

# What an edit leaves as it is.
_ENVELOPE = frozenset(
    {"message_id", "from", "chat", "date", "message_thread_id", "is_topic_message", "reply_to_message"}
)


class Methods:
    """What a bot may do here. A method takes its decoded parameters, and returns its result or raises `BotApiError`."""

    def __init__(
        self,
        me: Raw,
        chats: dict[int, Chat],
        files: Files,
        updates: Updates,
        now: Callable[[], float],
        *,
        local_folder: Path | None = None,
    ) -> None:
        self._me = me
        self._chats = chats
        self._files = files
        self._updates = updates
        self._now = now
        self._local_folder = local_folder
        self._answered: set[str] = set()
        self.profile = Profile(me, chats)

    async def call(self, name: str, parameters: Raw) -> Any:
        """Carry a method out; the case of its name does not matter."""
        name = name.lower()
        if method := getattr(self, f"on_{name}", None):
            return await method(parameters)
        if kind := _MEDIA_METHODS.get(name):
            return self._send_media(kind, parameters)
        if name in _PROFILE_METHODS:
            return self.profile.call(*_PROFILE_METHODS[name], parameters)
        raise BotApiError(404, "Not Found: method not found")

    # --- updates ---

    async def on_getupdates(self, p: Raw) -> list[Raw]:
        self._updates.allow(p.get("allowed_updates"))
        return await self._updates.get(
            offset=p.get("offset", 0), limit=p.get("limit", 100), timeout_seconds=p.get("timeout", 0)
        )

    async def on_setwebhook(self, p: Raw) -> bool:
        url, secret_token = p.get("url", ""), p.get("secret_token", "")
        if not _SECRET_TOKEN.fullmatch(secret_token):
            raise BotApiError(400, "Bad Request: secret token contains unallowed characters")
        if url and not url.startswith(_WEBHOOK_ROOTS):
            raise BotApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        self._updates.allow(p.get("allowed_updates"))
        webhook = Webhook(url, secret_token) if url else None
        await self._updates.set_webhook(webhook, drop_pending=p.get("drop_pending_updates", False))
        return True

    async def on_deletewebhook(self, p: Raw) -> bool:
        await self._updates.set_webhook(None, drop_pending=p.get("drop_pending_updates", False))
        return True

    async def on_getwebhookinfo(self, _p: Raw) -> Raw:
        webhook, error = self._updates.webhook, self._updates.last_error
        return {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates.pending),
            **({"allowed_updates": list(self._updates.allowed)} if self._updates.allowed else {}),
            **({"last_error_date": error[0], "last_error_message": error[1]} if webhook and error else {}),
        }

    # --- messages ---

    async def on_sendmessage(self, p: Raw) -> Raw:
        return self._send("text", p, composing.text(p), None)

    def _send_media(self, kind: str, p: Raw) -> Raw:
        return self._send(kind, p, *composing.media(self._files, kind, p.get(kind), p, p))

    def _send(self, kind: str, p: Raw, content: Raw, file: File | None) -> Raw:
        chat = composing.find_chat(self._chats, p)
        composing.check_rights(chat, kind)
        message = chat.add(
            self._me,
            content | composing.buttons(p),
            file=file,
            reply_to=composing.reply_target(chat, p),
            thread_id=composing.thread_of(chat, p),
            keyboard=composing.keyboard(p),
        )
        return message.raw

    async def on_editmessagetext(self, p: Raw) -> Raw:
        message = self._own_message(p)
        if "text" not in message.raw:
            raise BotApiError(400, "Bad Request: there is no text in the message to edit")
        return self._edit(message, composing.text(p), None, p)

    async def on_editmessagemedia(self, p: Raw) -> Raw:
        message = self._own_message(p)
        wish = p.get("media") or {}
        kind = wish.get("type")
        if kind not in MEDIA_KINDS:
            raise BotApiError(400, "Bad Request: can't parse InputMedia: Media type is not supported")
        composing.check_rights(composing.find_chat(self._chats, p), kind)
        return self._edit(message, *composing.media(self._files, kind, wish.get("media"), wish, p), p)

    async def on_editmessagereplymarkup(self, p: Raw) -> Raw:
        message = self._own_message(p)
        content = {
            name: value for name, value in message.raw.items() if name not in _ENVELOPE | {"reply_markup", "edit_date"}
        }
        return self._edit(message, content, message.file, p)

    def _own_message(self, p: Raw) -> Message:
        message = composing.find_chat(self._chats, p).find(p.get("message_id"))
        if message is None:
            raise BotApiError(400, "Bad Request: message to edit not found")
        if not message.is_from_bot or message.keyboard:
            raise BotApiError(400, "Bad Request: message can't be edited")
        return message

    def _edit(self, message: Message, content: Raw, file: File | None, p: Raw) -> Raw:
        """Exchange a message's content. Its buttons go unless they are given again."""
        envelope = {name: value for name, value in message.raw.items() if name in _ENVELOPE}
        edited = envelope | content | composing.buttons(p)
        if edited == {name: value for name, value in message.raw.items() if name != "edit_date"}:
            raise BotApiError(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly"
                " the same as a current content and reply markup of the message",
            )
        message.raw = edited | {"edit_date": int(self._now())}
        message.file = file
        return message.raw

    async def on_deletemessage(self, p: Raw) -> bool:
        chat = composing.find_chat(self._chats, p)
        message = chat.find(p.get("message_id"))
        if message is None:
            raise BotApiError(400, "Bad Request: message to delete not found")
        self._delete(chat, [message])
        return True

    async def on_deletemessages(self, p: Raw) -> bool:
        """What is not found is skipped."""
        chat = composing.find_chat(self._chats, p)
        wish = p.get("message_ids") or []
        if not 1 <= len(wish) <= _MOST_DELETED:
            raise BotApiError(400, f"Bad Request: there must be 1-{_MOST_DELETED} message identifiers")
        self._delete(chat, [message for message in chat.messages if message.id in wish])
        return True

    def _delete(self, chat: Chat, messages: list[Message]) -> None:
        if not chat.bot_may("can_delete_messages") and not all(message.is_from_bot for message in messages):
            raise BotApiError(400, "Bad Request: message can't be deleted")
        chat.messages[:] = [message for message in chat.messages if message not in messages]

    async def on_sendchataction(self, p: Raw) -> bool:
        composing.thread_of(composing.find_chat(self._chats, p), p)
        if not p.get("action"):
            raise BotApiError(400, "Bad Request: wrong parameter action in request")
        return True

    async def on_setmessagereaction(self, p: Raw) -> bool:
        if composing.find_chat(self._chats, p).find(p.get("message_id")) is None:
            raise BotApiError(400, "Bad Request: message to react not found")
        return True

    async def on_answercallbackquery(self, p: Raw) -> bool:
        query_id = str(p.get("callback_query_id"))
        if query_id in self._answered:
            raise BotApiError(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        if utf16_length(p.get("text") or "") > _LONGEST_CALLBACK_ANSWER:
            raise BotApiError(400, "Bad Request: MESSAGE_TOO_LONG")
        self._answered.add(query_id)
        return True

    # --- looking ---

    async def on_getme(self, _p: Raw) -> Raw:
        return self._me

    async def on_getfile(self, p: Raw) -> Raw:
        file = self._files.by_id(p.get("file_id", ""))
        if file is None:
            raise BotApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        if self._local_folder is not None:
            return file.ids | {"file_path": str(file.keep_in(self._local_folder))}
        if max(file.claimed_size, len(file.data)) > _MOST_BYTES_DOWN:
            raise BotApiError(400, "Bad Request: file is too big")
        return file.ids | {"file_path": file.path}

    async def on_getchat(self, p: Raw) -> Raw:
        chat = composing.find_chat(self._chats, p, only_look=True)
        about = {} if chat.is_private else {"permissions": chat.permissions}
        return chat.raw | about | {"accent_color_id": 0, "max_reaction_count": 11}

    async def on_getchatmember(self, p: Raw) -> Raw:
        member = composing.find_chat(self._chats, p, only_look=True).member(p.get("user_id"))
        if member is None:
            raise BotApiError(400, "Bad Request: user not found")
        return member

    async def on_getchatadministrators(self, p: Raw) -> list[Raw]:
        """The owner and the administrators who are no bots."""
        chat = composing.find_chat(self._chats, p)
        if chat.is_private:
            raise BotApiError(400, "Bad Request: there are no administrators in the private chat")
        return [member for person in (chat.creator, *sorted(chat.admins)) if (member := chat.member(person))]
