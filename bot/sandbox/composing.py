"""What a bot may put into a message: text, buttons, files, and what it replies to, with the Bot API's refusals."""

from typing import Any

from bot.sandbox.chats import Chat, Message
from bot.sandbox.entities import utf16_length
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import File, Files, Raw
from bot.sandbox.forms import Upload
from bot.sandbox.markup import parse_html

# https://core.telegram.org/bots/api#sendmessage, #sendvideo, #inlinekeyboardbutton, #sending-files
_LONGEST_TEXT = 4096
_LONGEST_CAPTION = 1024
_LONGEST_PLACEHOLDER = 64
_LONGEST_CALLBACK_DATA_BYTES = 64
_MOST_BYTES_OF_PHOTO = 10 << 20
_WITHOUT_CAPTION = frozenset({"sticker", "video_note"})
_RIGHTS = {
    "animation": ("can_send_other_messages", "animations"),
    "audio": ("can_send_audios", "audios"),
    "document": ("can_send_documents", "documents"),
    "photo": ("can_send_photos", "photos"),
    "sticker": ("can_send_other_messages", "stickers"),
    "text": ("can_send_messages", "text messages"),
    "video": ("can_send_videos", "videos"),
    "video_note": ("can_send_video_notes", "video notes"),
    "voice": ("can_send_voice_notes", "voice notes"),
}


def find_chat(chats: dict[int, Chat], p: Raw, *, only_look: bool = False) -> Chat:
    """The chat, where the bot is let into it; at people who blocked it it may look."""
    chat = chats.get(p.get("chat_id", 0))
    if chat is None:
        raise BotApiError(400, "Bad Request: chat not found")
    if chat.bans_bot and not (only_look and chat.is_private):
        raise BotApiError(403, chat.bans_bot)
    return chat


def check_rights(chat: Chat, kind: str) -> None:
    """https://core.telegram.org/bots/api#chatpermissions"""
    right, things = _RIGHTS[kind]
    if not chat.bot_may(right):
        raise BotApiError(400, f"Bad Request: not enough rights to send {things} to the chat")


def thread_of(chat: Chat, p: Raw) -> int | None:
    """The topic to speak in, which the chat must have."""
    thread_id: int | None = p.get("message_thread_id")
    if thread_id and thread_id not in chat.topics:
        raise BotApiError(400, "Bad Request: message thread not found")
    return thread_id


def reply_target(chat: Chat, p: Raw) -> Message | None:
    """The message to reply to. https://core.telegram.org/bots/api#replyparameters"""
    wish = p.get("reply_parameters") or {"message_id": p.get("reply_to_message_id"), **p}
    if not wish.get("message_id"):
        return None
    message = chat.find(wish["message_id"])
    if message is None and not wish.get("allow_sending_without_reply"):
        raise BotApiError(400, "Bad Request: message to be replied not found")
    return message


def text(p: Raw) -> Raw:
    content = _formatted(p, "text", "entities")
    if not content["text"].strip():
        raise BotApiError(400, "Bad Request: message text is empty")
    if utf16_length(content["text"]) > _LONGEST_TEXT:
        raise BotApiError(400, "Bad Request: message is too long")
    return content


def _caption(p: Raw) -> Raw:
    content = _formatted(p, "caption", "caption_entities")
    if utf16_length(content["caption"]) > _LONGEST_CAPTION:
        raise BotApiError(400, "Bad Request: message caption is too long")
    return content if content["caption"] else {}


def _formatted(p: Raw, name: str, entities: str) -> Raw:
    """A text and its entities. https://core.telegram.org/bots/api#formatting-options"""
    words, found = p.get(name) or "", p.get(entities) or []
    match str(p.get("parse_mode") or "").lower():
        case "":
            pass
        case "html":
            words, found = parse_html(words)
        case _:
            raise BotApiError(400, "Bad Request: unsupported parse_mode")
    return {name: words} | ({entities: found} if found else {})


def buttons(p: Raw) -> Raw:
    """The inline keyboard; of other keyboards a message shows nothing."""
    rows = (p.get("reply_markup") or {}).get("inline_keyboard")
    if not rows:
        return {}
    for button in (button for row in rows for button in row):
        data = button.get("callback_data")
        if data is not None and not 1 <= len(data.encode()) <= _LONGEST_CALLBACK_DATA_BYTES:
            raise BotApiError(400, "Bad Request: BUTTON_DATA_INVALID")
    return {"reply_markup": {"inline_keyboard": rows}}


def keyboard(p: Raw) -> Raw | None:
    """A keyboard that people see and the Message object doesn't show, or the wish for an answer.

    https://core.telegram.org/bots/api#forcereply, #replykeyboardremove and #replykeyboardmarkup
    """
    markup: Raw = p.get("reply_markup") or {}
    if not any(markup.get(name) for name in ("force_reply", "remove_keyboard", "keyboard")):
        return None
    if not 1 <= utf16_length(markup.get("input_field_placeholder", "…")) <= _LONGEST_PLACEHOLDER:
        raise BotApiError(400, "Bad Request: the placeholder must be 1-64 characters long")
    return markup


def media(files: Files, kind: str, value: Any, details: Raw, form: Raw) -> tuple[Raw, File]:
    """A media message's content, and its file. `details` is the method's parameters, or the InputMedia object."""
    caption = {} if kind in _WITHOUT_CAPTION else _caption(details)
    file = _file(files, kind, value, form)
    thumbnail = details.get("thumbnail")
    content = files.describe(
        kind, file, details, thumbnail=_file(files, "thumbnail", thumbnail, form) if thumbnail else None
    )
    return content | caption, file


def _file(files: Files, kind: str, value: Any, form: Raw) -> File:
    """A file named by an upload in the form or by `file_id`. https://core.telegram.org/bots/api#sending-files"""
    if isinstance(value, str) and value.startswith("attach://"):
        value = form.get(value.removeprefix("attach://"))
    if isinstance(value, Upload):
        if not value.data:
            raise BotApiError(400, "Bad Request: file must be non-empty")
        if kind == "photo" and len(value.data) > _MOST_BYTES_OF_PHOTO:
            raise BotApiError(400, "Bad Request: too big file for a photo")
        return files.add(value.data, value.name, mime_type=value.mime_type, kind=kind)
    if not value:
        raise BotApiError(400, f"Bad Request: there is no {kind.replace('_', ' ')} in the request")
    if str(value).startswith(("http://", "https://")):
        raise BotApiError(400, "Bad Request: failed to get HTTP URL content")
    file = files.by_id(str(value))
    if file is None:
        raise BotApiError(400, "Bad Request: wrong remote file identifier specified: Wrong string length")
    if file.kind != kind:
        raise BotApiError(400, f"Bad Request: can't use file of type {_type(file.kind)} as {_type(kind)}")
    return file


def _type(kind: str) -> str:
    """The server's own name for a kind of file."""
    return "VoiceNote" if kind == "voice" else kind.title().replace("_", "")
