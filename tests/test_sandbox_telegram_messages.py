"""What a bot may do in the local Telegram: messages, their edits and formatting, and its profile.

https://core.telegram.org/bots/api
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asking import YES, Ask, Raw, asking, jpeg
from bot.sandbox import BotApi, Chat


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    server = BotApi()
    async with server.serving():
        yield server


@pytest.fixture
def ask(api: BotApi) -> Ask:
    return asking(api)


@pytest.fixture
def ada(api: BotApi) -> Chat:
    return api.private_chat(user_id=7, first_name="Ada")


# --- the bot's messages ---


async def test_send_video(ask: Ask, ada: Chat) -> None:
    """The uploaded bytes, the geometry and the thumbnail are in the message, as a reply; a file_id sends it again."""
    voice = await ada.send_voice(b"OggS")
    answer = await ask(
        "sendVideo",
        files={"video": ("talk.mp4", b"--moov--\r\n", "video/mp4"), "cover": ("t.jpg", jpeg(200, 320), "image/jpeg")},
        chat_id="7",
        width="480",
        height="640",
        duration="5",
        caption="Here",
        supports_streaming="true",
        thumbnail="attach://cover",
        reply_parameters={"message_id": voice.id},
    )
    message = ada.messages[-1]
    assert message.file is not None
    assert message.file.data == b"--moov--\r\n"
    assert (message.reply_to_id, message.text) == (voice.id, "Here")
    video = answer["result"]["video"]
    assert (video["width"], video["height"], video["duration"], video["file_name"]) == (480, 640, 5, "talk.mp4")
    assert video["thumbnail"]["width"] == 200
    [call] = ada.history
    assert (call.parameters["supports_streaming"], call.parameters["video"].data) == (True, b"--moov--\r\n")
    again = await ask("sendVideo", chat_id=7, video=video["file_id"])
    assert again["result"]["video"]["file_unique_id"] == video["file_unique_id"]


async def test_replies_to_what_is_gone(ask: Ask, ada: Chat) -> None:
    """Refused, unless it may be sent without."""
    voice = await ada.send_voice(b"OggS")
    await ada.delete(voice)
    wish: Raw = {"message_id": voice.id}
    assert not (await ask("sendMessage", chat_id=7, text="x", reply_parameters=wish))["ok"]
    wish["allow_sending_without_reply"] = True
    answer = await ask("sendMessage", chat_id=7, text="x", reply_parameters=wish)
    assert "reply_to_message" not in answer["result"]


async def test_edits(ask: Ask, ada: Chat) -> None:
    """Text and buttons are exchanged together; the same again is "not modified"; text turns into a video."""
    edit = {"chat_id": 7, "message_id": 1}
    await ask("sendMessage", chat_id=7, text="working", reply_markup=YES)
    assert (await ask("editMessageReplyMarkup", **edit, reply_markup=YES))["error_code"] == 400
    assert (await ask("editMessageReplyMarkup", **edit))["result"]["text"] == "working"
    assert ada.messages[0].buttons == {}
    assert "message is not modified" in (await ask("editMessageText", **edit, text="working"))["description"]
    assert "edit_date" in (await ask("editMessageText", **edit, text="sending"))["result"]
    assert "message is not modified" in (await ask("editMessageText", **edit, text="sending"))["description"]
    assert "Media type" in (await ask("editMessageMedia", **edit, media={"type": "text"}))["description"]
    media = {"type": "video", "media": "attach://clip", "width": 480}
    await ask("editMessageMedia", files={"clip": ("v.mp4", b"mp4")}, chat_id="7", message_id="1", media=media)
    [message] = ada.messages
    assert message.file is not None
    assert (message.file.data, message.text, (message.video or {})["width"]) == (b"mp4", "", 480)
    assert "no text in the message" in (await ask("editMessageText", **edit, text="x"))["description"]
    assert (await ask("deleteMessage", **edit))["result"] is True
    assert not ada.messages


async def test_other_methods(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Animations are documents too; actions and reactions are taken."""
    await ask("sendAnimation", files={"animation": ("a.mp4", b"mp4")}, chat_id="7")
    raw = ada.messages[0].raw
    assert raw["animation"] == raw["document"]
    assert (await ask("sendChatAction", chat_id=7, action="record_video"))["result"] is True
    assert (await ask("setMessageReaction", chat_id=7, message_id=1))["result"] is True
    assert (await ask("getMe"))["result"] == api.me


# --- what the bot tells of itself ---


async def test_profile(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Kept for exactly each scope and language; a command loses its slash."""
    commands = [{"command": "start", "description": "Start"}]
    chat = {"type": "chat", "chat_id": ada.id}
    await ask("setMyCommands", commands=[{"command": "/start", "description": " Start "}], language_code="de")
    await ask("setMyCommands", commands=commands, scope=chat)
    assert (await ask("getMyCommands", language_code="de"))["result"] == commands == api.commands(language_code="de")
    assert (await ask("getMyCommands", scope=chat))["result"] == commands == api.commands(chat)
    assert (await ask("getMyCommands"))["result"] == api.commands() == api.commands(chat, "de") == []
    await ask("deleteMyCommands", language_code="de")
    assert (await ask("getMyCommands", language_code="de"))["result"] == []
    await ask("setMyShortDescription", short_description="Talks")
    assert (await ask("getMyShortDescription"))["result"] == {"short_description": "Talks"}
    await ask("setMyDescription", description="Spricht", language_code="de")
    assert (api.profile("short_description"), api.profile("description", "de")) == ("Talks", "Spricht")
    assert (await ask("getMyName"))["result"] == {"name": api.me["first_name"]}


def command(name: str, description: str = "x") -> Raw:
    return {"commands": [{"command": name, "description": description}]}


@pytest.mark.parametrize(
    ("what", "parameters", "says"),
    [
        ("Commands", {"commands": command("x")["commands"] * 101}, "BOT_COMMANDS_TOO_MUCH"),
        ("Commands", command("Start"), "BOT_COMMAND_INVALID"),
        ("Commands", command("/"), "command must be non-empty"),
        ("Commands", command("x" * 33), "command length must not exceed 32"),
        ("Commands", command("x", " "), "command description must be non-empty"),
        ("Commands", command("x", "x" * 257), "command description length must not exceed 256"),
        ("Commands", command("x") | {"language_code": "pt-br"}, "invalid language code specified"),
        (
            "Commands",
            command("x") | {"scope": {"type": "all"}},
            "can't parse BotCommandScope: Unsupported type specified",
        ),
        ("Commands", command("x") | {"scope": {"type": "chat", "chat_id": 8}}, "chat not found"),
        (
            "Commands",
            command("x") | {"scope": {"type": "chat_member", "chat_id": 7, "user_id": 7}},
            "can't use specified scope in private chats",
        ),
        ("Name", {"name": "x" * 65}, "name is too long"),
        ("Description", {"description": "x" * 513}, "description is too long"),
        ("ShortDescription", {"short_description": "x" * 121}, "short description is too long"),
        ("ShortDescription", {"short_description": "x", "language_code": "EN"}, "invalid language code specified"),
    ],
)
async def test_profile_that_is_refused(api: BotApi, ask: Ask, what: str, parameters: Raw, says: str) -> None:
    api.private_chat(user_id=7)
    assert await ask(f"setMy{what}", **parameters) == {
        "ok": False,
        "error_code": 400,
        "description": f"Bad Request: {says}",
    }
    assert not api.commands()
    assert not api.profile("description")


# --- formatting ---


def entity(kind: str, offset: int, length: int, **more: Any) -> Raw:
    return {"type": kind, "offset": offset, "length": length, **more}


@pytest.mark.parametrize(
    ("html", "shown", "entities"),
    [
        ("<b>bold</b>, <strong>too</strong>", "bold, too", [entity("bold", 0, 4), entity("bold", 6, 3)]),
        ("🎈<i>a</i><EM>b</em>", "🎈ab", [entity("italic", 2, 1), entity("italic", 3, 1)]),
        ("<u>a</u><ins>b</ins>", "ab", [entity("underline", 0, 1), entity("underline", 1, 1)]),
        ("<s>a</s><strike>b</strike><del>c</del>", "abc", [entity("strikethrough", at, 1) for at in range(3)]),
        (
            '<span class="tg-spoiler">a</span><tg-spoiler>b</tg-spoiler>',
            "ab",
            [entity("spoiler", 0, 1), entity("spoiler", 1, 1)],
        ),
        (
            "<a href='https://x.org/?a=1&amp;b=2'>x</a>",
            "x",
            [entity("text_link", 0, 1, url="https://x.org/?a=1&b=2")],
        ),
        (
            '<a href="tg://user?id=7">Ada</a>',
            "Ada",
            [entity("text_mention", 0, 3, user={"id": 7, "is_bot": False, "first_name": "Ada"})],
        ),
        ("<a>x.org</a>", "x.org", [entity("text_link", 0, 5, url="x.org")]),
        ("<b>a<i>b</i></b>", "ab", [entity("bold", 0, 2), entity("italic", 1, 1)]),
        ("<code>a<b>b</b></code>", "ab", [entity("code", 0, 2)]),
        (
            '<pre><code class="language-python">1</code></pre><pre>2</pre>',
            "12",
            [entity("pre", 0, 1, language="python"), entity("pre", 1, 1)],
        ),
        ('<code class="language-python">1</code>', "1", [entity("code", 0, 1)]),
        (
            "<blockquote>a</blockquote><blockquote expandable>b</blockquote>",
            "ab",
            [entity("blockquote", 0, 1), entity("expandable_blockquote", 1, 1)],
        ),
        (
            "1 &lt; 2 &amp;&amp; &quot;&#8364;&#x1F388;&quot; &nbsp; &#0;&#xD800; >",
            '1 < 2 && "€🎈" &nbsp; &#0;&#xD800; >',
            [],
        ),
        ("a<b></b>", "a", []),
    ],
)
async def test_html(ask: Ask, ada: Chat, html: str, shown: str, entities: list[Raw]) -> None:
    """https://core.telegram.org/bots/api#html-style: what is shown is stored, with its entities."""
    answer = (await ask("sendMessage", chat_id=7, text=html, parse_mode="HTML"))["result"]
    assert (answer["text"], answer.get("entities", [])) == (shown, entities)
    assert ada.messages[-1].text == shown


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("é<x>", 'Unsupported start tag "x" at byte offset 2'),
        ("1 < 2", 'Unsupported start tag "" at byte offset 2'),
        ("<br/>", 'Unsupported start tag "br/" at byte offset 0'),
        ("I <3", "Unclosed start tag at byte offset 2"),
        ('<a href="x>y</a>', "Unclosed start tag at byte offset 0"),
        ("<b>bold", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<b><i>x</b></i>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</b y>", "Unclosed end tag at byte offset 4"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ],
)
async def test_html_that_cannot_be_read(ask: Ask, ada: Chat, html: str, says: str) -> None:
    """The server says what and where, counting in bytes; without a parse mode it is text."""
    answer = await ask("sendMessage", chat_id=7, text=html, parse_mode="HTML")
    assert (answer["error_code"], answer["description"]) == (400, f"Bad Request: can't parse entities: {says}")
    assert (await ask("sendMessage", chat_id=7, text=html))["result"]["text"] == html
    assert len(ada.messages) == 1


async def test_formatting_everywhere(ask: Ask, ada: Chat) -> None:
    """Edits and captions have it too, entities may be given, and limits count what is shown."""
    await ask("sendMessage", chat_id=7, text="<b>" + "x" * 4096 + "</b>", parse_mode="html")
    edit = {"chat_id": 7, "message_id": 1, "parse_mode": "HTML"}
    edited = await ask("editMessageText", **edit, text="<i>y</i>")
    assert edited["result"]["entities"] == [entity("italic", 0, 1)]
    assert "not modified" in (await ask("editMessageText", **edit, text="<em>y</em>"))["description"]
    assert (await ask("editMessageText", **edit, text="<b></b>"))["description"] == "Bad Request: message text is empty"
    caption = "&lt;" + "<b>x</b>" * 1023
    sent = await ask("sendVideo", files={"video": ("x.mp4", b"x")}, chat_id="7", caption=caption, parse_mode="HTML")
    assert (sent["result"]["caption"], len(sent["result"]["caption_entities"])) == ("<" + "x" * 1023, 1023)
    media = {"type": "video", "media": sent["result"]["video"]["file_id"], "caption": "<b>z</b>", "parse_mode": "HTML"}
    shown = (await ask("editMessageMedia", chat_id=7, message_id=1, media=media))["result"]
    assert (shown["caption"], shown["caption_entities"]) == ("z", [entity("bold", 0, 1)])
    given = await ask("sendMessage", chat_id=7, text="<b>", entities=[entity("code", 0, 3)])
    assert (given["result"]["text"], given["result"]["entities"]) == ("<b>", [entity("code", 0, 3)])
    assert "unsupported parse_mode" in (await ask("sendMessage", chat_id=7, text="x", parse_mode="BB"))["description"]


# --- wishes for an answer ---


async def test_force_reply(ask: Ask, ada: Chat) -> None:
    """The message remembers it without showing it, and can't be edited any more, but can be deleted."""
    wish = {"force_reply": True, "selective": True, "input_field_placeholder": "a photo"}
    answer = await ask("sendMessage", chat_id=7, text="Which photo?", reply_markup=wish)
    [question] = ada.messages
    assert (question.asks, "reply_markup" in answer["result"]) == (wish, False)
    edit = {"chat_id": 7, "message_id": question.id}
    for method in ("editMessageText", "editMessageReplyMarkup"):
        refused = await ask(method, **edit, text="x", reply_markup=YES)
        assert refused["description"] == "Bad Request: message can't be edited"
    for placeholder in ("", "x" * 65):
        refused = await ask(
            "sendMessage", chat_id=7, text="x", reply_markup=wish | {"input_field_placeholder": placeholder}
        )
        assert refused["error_code"] == 400
    assert (await ask("deleteMessage", **edit))["ok"]
    await ask("sendMessage", chat_id=7, text="Thanks", reply_markup={"remove_keyboard": True})
    assert (ada.messages[0].asks, ada.messages[0].keyboard) == (None, {"remove_keyboard": True})
    await ask("sendMessage", chat_id=7, text="Sure?", reply_markup=YES)
    assert (ada.messages[1].asks, ada.messages[1].keyboard) == (None, None)


# --- round videos ---


async def test_files_keep_their_kind(api: BotApi, ask: Ask, ada: Chat) -> None:
    """A file_id sends what it was; a round video has no caption, and can be forbidden."""
    note = await ask("sendVideoNote", files={"video_note": ("n.mp4", b"n")}, chat_id="7", length="240", caption="x")
    voice = await ada.send_voice(b"OggS")
    assert (note["result"]["video_note"]["length"], "caption" in note["result"]) == (240, False)
    file_id = note["result"]["video_note"]["file_id"]
    assert (await ask("sendVideo", chat_id=7, video=file_id))["description"] == (
        "Bad Request: can't use file of type VideoNote as Video"
    )
    assert (await ask("sendVideoNote", chat_id=7, video_note=file_id))["ok"]
    voice_id = voice.raw["voice"]["file_id"]
    assert "type VoiceNote as Document" in (await ask("sendDocument", chat_id=7, document=voice_id))["description"]
    assert (await ask("sendVoice", chat_id=7, voice=voice_id))["ok"]
    api.fail("sendVideoNote", 400, "Bad Request: VOICE_MESSAGES_FORBIDDEN")
    assert "FORBIDDEN" in (await ask("sendVideoNote", chat_id=7, video_note=file_id))["description"]
