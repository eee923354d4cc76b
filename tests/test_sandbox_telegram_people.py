"""People in the local Telegram: what they send and press, alone and in groups, and what of it reaches the bot.

https://core.telegram.org/bots/api
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import telegram

from asking import YES, Ask, Raw, asking, jpeg, updates
from bot.sandbox import BotApi, Chat
from bot.sandbox.files import Files


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


# --- people ---


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("voice", {"duration": 9, "mime_type": "audio/ogg"}),
        ("audio", {"duration": 9, "mime_type": "audio/mpeg", "file_name": "song.mp3"}),
        ("document", {"file_name": "file"}),
        ("video", {"duration": 9, "mime_type": "video/mp4", "width": 320}),
        ("video_note", {"duration": 9, "length": 240}),
        ("sticker", {"is_animated": False, "width": 512}),
    ],
)
async def test_people_send_files(ask: Ask, ada: Chat, tmp_path: Path, kind: str, shown: Raw) -> None:
    """Each kind comes as its own object, with the sender's claims."""
    source = tmp_path / "source"
    source.write_bytes(b"sound or picture")
    claims = {"duration": 9} if "duration" in shown else {}
    message = await getattr(ada, f"send_{kind}")(source, **claims, file_size=99, caption="for you", media_group_id="1")
    [update] = await updates(ask)
    seen = update["message"]
    assert seen == message.raw
    assert (seen["caption"], seen["media_group_id"]) == ("for you", "1")
    assert shown.items() <= seen[kind].items()
    assert seen[kind]["file_size"] == 99
    file = (await ask("getFile", file_id=seen[kind]["file_id"]))["result"]
    assert file["file_unique_id"] == seen[kind]["file_unique_id"]


async def test_photos_come_in_sizes(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Smallest first; the last one has the bytes that were sent."""
    await ada.send_photo(jpeg())
    [update] = await updates(ask)
    small, whole = update["message"]["photo"]
    assert [(size["width"], size["height"]) for size in (small, whole)] == [(90, 68), (640, 480)]
    path = (await ask("getFile", file_id=whole["file_id"]))["result"]["file_path"]
    response = await api.http.get(f"{api.root_url}/file/bot{api.token}/{path}")
    assert (response.content, response.headers["content-type"]) == (jpeg(), "application/octet-stream")
    assert (await api.http.get(f"{api.root_url}/file/bot1:wrong/{path}")).status_code == 404
    assert (await api.http.get(f"{api.root_url}/file/bot{api.token}/files/none")).status_code == 404
    assert [len((await ada.send_photo(b"no picture")).raw["photo"])] == [1]


async def test_files_over_20_mb_cannot_be_fetched(ask: Ask, ada: Chat) -> None:
    message = await ada.send_document(b"x", "big.wav", "audio/x-wav", file_size=25 << 20)
    assert (await ask("getFile", file_id=message.raw["document"]["file_id"]))["description"] == (
        "Bad Request: file is too big"
    )


def test_old_files_make_room() -> None:
    files = Files(most_kept_bytes=10)
    kept = [files.add(bytes(size), "x", mime_type=None) for size in (6, 4, 5)]
    assert [len(file.data) for file in kept] == [0, 4, 5]


async def test_commands_are_entities(ask: Ask, ada: Chat) -> None:
    """Offsets count UTF-16 code units; paths and addresses are no commands."""
    message = await ada.send_text("🎈 /talk@talking_photo_bot to @somebody a/b x@y.org")
    assert message.raw["entities"] == [
        {"type": "bot_command", "offset": 3, "length": 23},
        {"type": "mention", "offset": 30, "length": 9},
    ]


async def test_buttons(api: BotApi, ask: Ask, ada: Chat) -> None:
    """A press comes as a callback query, which is answered once; a message that is gone comes as inaccessible."""
    await ask("sendMessage", chat_id=7, text="Sure?", reply_markup=YES)
    question = await ada.wait_for(lambda message: message.buttons)
    query_id = await ada.press(question, "Yes")
    await ask("deleteMessage", chat_id=7, message_id=question.id)
    await ada.press(question, "yes:1", by=api.user(9, first_name="Eve"))
    first, second = (update["callback_query"] for update in await updates(ask))
    assert (first["data"], first["from"]["id"], first["message"]["text"]) == ("yes:1", 7, "Sure?")
    assert second["from"]["first_name"] == "Eve"
    assert second["message"] == {"chat": ada.raw, "message_id": question.id, "date": 0}
    assert (await ask("answerCallbackQuery", callback_query_id=query_id))["ok"]
    assert "query is too old" in (await ask("answerCallbackQuery", callback_query_id=query_id))["description"]
    with pytest.raises(ValueError, match="no button"):
        await ada.press(question, "No")


async def test_waiting_tells_what_it_saw_instead(api: BotApi, ada: Chat) -> None:
    await ada.send_text("hello")
    await ada.send_sticker(b"")
    with pytest.raises(TimeoutError, match="1 Ada: hello\n2 Ada: sticker"):
        await ada.wait_for(lambda message: message.video, timeout_seconds=0)
    with pytest.raises(TimeoutError):
        await api.wait_for_call("sendVideo", timeout_seconds=0)


# --- groups ---


async def test_privacy_mode(api: BotApi, ask: Ask) -> None:
    """In a group come commands, unless they are another bot's, and replies to the bot's own messages."""
    group, ada = api.group(), api.user(7)
    sent = (await ask("sendMessage", chat_id=group.id, text="Which photo?"))["result"]
    [question] = group.messages
    words = ["hello", "/talk", "/talk@talking_photo_bot", "/talk@another_bot", "@talking_photo_bot hi"]
    for text in words:
        await group.send_text(text, by=ada)
    await group.send_photo(b"", by=ada, reply_to=question)
    await group.send_photo(b"", by=ada, caption="/talk@talking_photo_bot")
    seen = [update["message"] for update in await updates(ask)]
    assert [message.get("text") for message in seen] == ["/talk", "/talk@talking_photo_bot", None, None]
    assert seen[2]["reply_to_message"] == sent
    assert "message can't be deleted" in (await ask("deleteMessage", chat_id=group.id, message_id=2))["description"]
    assert (await ask("getChatMember", chat_id=group.id, user_id=7))["result"]["user"]["id"] == 7
    assert (await ask("getChat", chat_id=group.id))["result"]["type"] == "supergroup"
    with pytest.raises(ValueError, match="who it is"):
        await group.send_text("nobody")


async def test_without_privacy_mode_everything_comes() -> None:
    api = BotApi(reads_all_group_messages=True)
    await api.group(-5).send_text("hello", by=api.user(7))
    assert len(api.updates.pending) == 1


async def test_topics(api: BotApi, ask: Ask) -> None:
    """In a forum a message belongs to a topic; a thread id may also stand for a chain of replies."""
    forum = api.group(topics=[3])
    message = await forum.send_text("/talk", by=api.user(7), thread_id=3)
    answer = await ask("sendMessage", chat_id=forum.id, text="yes", message_thread_id=3)
    assert message.raw["is_topic_message"] is answer["result"]["is_topic_message"] is True
    assert "is_topic_message" not in (await forum.send_text("/talk", by=api.user(7), thread_id=9)).raw
    assert (await ask("sendMessage", chat_id=forum.id, text="?", message_thread_id=4))["error_code"] == 400


async def test_privacy_mode_knows_commands_anywhere_and_what_is_gone(api: BotApi, ask: Ask) -> None:
    """Commands count in captions too, for whomever they are; a reply to what was deleted is no reply."""
    group, ada = api.group(), api.user(7)
    await ask("sendMessage", chat_id=group.id, text="Which photo?")
    question = group.messages[-1]
    await group.send_photo(b"", by=ada, caption="/talk")
    await group.send_photo(b"", by=ada, caption="/talk@another_bot")
    await group.send_text("/talk@Talking_Photo_Bot", by=ada)
    await group.send_service(by=ada, new_chat_members=[ada])
    await group.delete(question)
    lost = await group.send_text("this one", by=ada, reply_to=question)
    assert "reply_to_message" not in lost.raw
    seen = [update["message"] for update in await updates(ask)]
    assert [message.get("text") or message.get("caption") for message in seen] == [
        "/talk",
        "/talk@Talking_Photo_Bot",
        None,
    ]


async def test_chains_of_replies_are_no_topics(api: BotApi, ask: Ask) -> None:
    """In General and in supergroups a reply bears its chain's id, with which nobody can send."""
    ada = api.user(7)
    for group in (api.group(topics=[30]), api.group(-1009999999999)):
        first = await group.send_text("/talk", by=ada)
        await ask("sendMessage", chat_id=group.id, text="Which?", reply_parameters={"message_id": first.id})
        answer = await group.send_photo(b"", by=ada, reply_to=group.messages[-1])
        assert "message_thread_id" not in first.raw
        assert (answer.raw["message_thread_id"], "is_topic_message" in answer.raw) == (first.id, False)
        refused = await ask("sendMessage", chat_id=group.id, text="?", message_thread_id=first.id)
        assert refused["description"] == "Bad Request: message thread not found"
    forum = api.group()
    there = await forum.send_text("/talk", by=ada, thread_id=30)
    within = await forum.send_text("yes", by=ada, reply_to=there)
    assert (within.raw["message_thread_id"], within.raw["is_topic_message"]) == (30, True)
    basic = api.group(-5)
    plain = await basic.send_text("yes", by=ada, reply_to=await basic.send_text("well?", by=ada))
    assert "message_thread_id" not in plain.raw


# --- edits, albums, and who speaks in another name ---


async def test_people_edit(ask: Ask, ada: Chat) -> None:
    """What is not given stays."""
    text = await ada.send_text("helo")
    photo = await ada.send_photo(jpeg(), caption="me", media_group_id="1")
    await ada.edit(text, text="/help")
    await ada.edit(photo, photo=jpeg(90, 90))
    await ada.edit(photo, caption="")
    first, second, third = [update["edited_message"] for update in (await updates(ask))[2:]]
    assert (first["text"], first["entities"][0]["type"], first["message_id"]) == ("/help", "bot_command", text.id)
    assert first["edit_date"] >= first["date"]
    assert (second["caption"], second["photo"][-1]["width"], second["media_group_id"]) == ("me", 90, "1")
    assert ("caption" in third, third["photo"]) == (False, second["photo"])
    assert photo.file is not None
    assert photo.file.data == jpeg(90, 90)


async def test_edits_in_groups_come_as_messages_do(api: BotApi, ask: Ask) -> None:
    group = api.group()
    message = await group.send_text("talk", by=api.user(7))
    await group.edit(message, text="talk!")
    await group.edit(message, text="/talk")
    assert [update["edited_message"]["text"] for update in await updates(ask)] == ["/talk"]


async def test_albums(ask: Ask, ada: Chat) -> None:
    """Separate messages with one group id, captions from the first on."""
    await ada.send_album([b"1", b"2", b"3"], captions=["/talk"])
    await ada.send_album([b"1", b"2"], kind="document")
    seen = [update["message"] for update in await updates(ask)]
    assert [("photo" in message, message.get("caption")) for message in seen] == [
        (True, "/talk"),
        *[(True, None)] * 2,
        *[(False, None)] * 2,
    ]
    assert [message["media_group_id"] for message in seen] == [seen[0]["media_group_id"]] * 3 + [
        seen[3]["media_group_id"]
    ] * 2
    assert seen[0]["media_group_id"] != seen[3]["media_group_id"]
    with pytest.raises(ValueError, match="album of 1"):
        await ada.send_album([b"1"])


async def test_who_speaks_in_another_name(api: BotApi, ask: Ask) -> None:
    """Each has a shared user in `from`, and the chat in `sender_chat`; none is taken for our bot."""
    group = api.group()
    for sender in (group.anonymous_admin(), group.channel(), group.linked_channel(title="Blog")):
        message = await group.send_text("/talk", by=sender)
        assert not message.is_from_bot
    anonymous, channel, forwarded = [update["message"] for update in await updates(ask)]
    assert (anonymous["from"]["id"], anonymous["sender_chat"]) == (1087968824, group.raw)
    assert (channel["from"]["id"], channel["sender_chat"]["type"]) == (136817688, "channel")
    assert (forwarded["from"]["id"], forwarded["is_automatic_forward"]) == (777000, True)
    assert forwarded["forward_origin"]["chat"] == forwarded["sender_chat"]
    edit = await ask("editMessageText", chat_id=group.id, message_id=anonymous["message_id"], text="x")
    assert edit["description"] == "Bad Request: message can't be edited"


# --- who is what ---


async def test_members(api: BotApi, ask: Ask) -> None:
    """The owner, the administrators, whoever is known; nobody else."""
    group = api.group()
    for user_id in (7, 8, 9):
        api.user(user_id)
    group.creator, group.admins = 7, {8}

    async def status(user_id: int) -> str:
        answer = await ask("getChatMember", chat_id=group.id, user_id=user_id)
        return str(answer["result"]["status"] if answer["ok"] else answer["description"])

    ids = (7, 8, 9, api.me["id"], 10)
    assert [await status(user_id) for user_id in ids] == [
        *("creator", "administrator", "member", "member", "Bad Request: user not found"),
    ]
    admins = (await ask("getChatAdministrators", chat_id=group.id))["result"]
    assert [admin["user"]["id"] for admin in admins] == [7, 8]
    group.permissions["can_send_videos"] = False
    permissions = (await ask("getChat", chat_id=group.id))["result"]["permissions"]
    assert (permissions["can_send_videos"], permissions["can_send_photos"]) == (False, True)
    assert "permissions" not in (await ask("getChat", chat_id=api.private_chat().id))["result"]
    assert not (await ask("getChatAdministrators", chat_id=7))["ok"]


async def test_what_becomes_of_the_bot_is_told(api: BotApi, ask: Ask) -> None:
    """With the whole ChatMember before and after, as a library reads it."""
    group, ada = api.group(bot="left"), api.user(7)
    await group.bot_is("member", by=ada)
    await group.bot_is("administrator", by=ada, can_delete_messages=True)
    await group.bot_is("restricted", by=ada, can_send_videos=False)
    await group.bot_is("restricted", by=ada, is_member=False)
    assert (await ask("sendMessage", chat_id=group.id, text="hi"))["error_code"] == 403
    await group.bot_is("kicked", by=ada)
    found = [telegram.Update.de_json(update, None).my_chat_member for update in await updates(ask)]
    changes = [change for change in found if change]
    assert [(change.old_chat_member.status, change.new_chat_member.status) for change in changes] == [
        *(("left", "member"), ("member", "administrator"), ("administrator", "restricted")),
        *(("restricted", "restricted"), ("restricted", "kicked")),
    ]
    admin, restricted = changes[1].new_chat_member, changes[2].new_chat_member
    assert isinstance(admin, telegram.ChatMemberAdministrator)
    assert (admin.can_delete_messages, admin.can_pin_messages, admin.can_manage_chat) == (True, False, True)
    assert isinstance(restricted, telegram.ChatMemberRestricted)
    assert (restricted.can_send_videos, restricted.can_send_messages, restricted.is_member) == (False, True, True)
    assert changes[0].from_user.id == 7
    with pytest.raises(ValueError, match="member has no can_fly"):
        await group.bot_is("member", by=ada, can_fly=True)


@pytest.mark.parametrize(
    ("chat_id", "status", "says"),
    [
        (-5, "kicked", "bot was kicked from the group chat"),
        (-(10**12) - 1, "kicked", "bot was kicked from the supergroup chat"),
        (-(10**12) - 1, "left", "bot is not a member of the supergroup chat"),
        (7, "kicked", "bot was blocked by the user"),
    ],
)
async def test_whoever_is_removed_is_out(api: BotApi, ask: Ask, chat_id: int, status: Any, says: str) -> None:
    """Nothing can be done there, and nothing comes from there, until it is let in again."""
    chat = api.private_chat(7) if chat_id > 0 else api.group(chat_id)
    await chat.bot_is(status, by=api.user(7))
    await chat.send_text("/talk", by=api.user(7))
    answer = await ask("sendMessage", chat_id=chat_id, text="hi")
    assert (answer["error_code"], answer["description"].startswith("Forbidden: bot ")) == (403, True)
    assert says in answer["description"]
    assert [list(update)[1] for update in await updates(ask)] == ["my_chat_member"]
    await chat.bot_is("member", by=api.user(7))
    assert (await ask("sendMessage", chat_id=chat_id, text="hi"))["ok"]


@pytest.mark.parametrize("how", ["restricted", "permissions"])
async def test_rights_are_obeyed(api: BotApi, ask: Ask, how: str) -> None:
    """Each kind of message needs its own right, whether the bot alone or everybody lacks it."""
    group, ada = api.group(), api.user(7)
    lacking = dict.fromkeys(("can_send_messages", "can_send_videos", "can_send_video_notes"), False)
    if how == "restricted":
        await group.bot_is("restricted", by=ada, **lacking)
    else:
        group.permissions |= lacking
    for method, name, things in [
        ("sendMessage", "text", "text messages"),
        ("sendVideo", "video", "videos"),
        ("sendVideoNote", "video_note", "video notes"),
    ]:
        answer = await ask(
            method, files={name: ("x.mp4", b"x")} if name != "text" else None, chat_id=group.id, text="x"
        )
        assert answer["description"] == f"Bad Request: not enough rights to send {things} to the chat"
    assert (await ask("sendPhoto", files={"photo": ("x.jpg", jpeg())}, chat_id=str(group.id)))["ok"]
    await group.bot_is("administrator", by=ada)
    assert (await ask("sendMessage", chat_id=group.id, text="x"))["ok"]


async def test_administrators_get_everything_and_may_delete_if_allowed(api: BotApi, ask: Ask) -> None:
    group, ada = api.group(), api.user(7)
    await group.bot_is("administrator", by=ada)
    message = await group.send_text("hello", by=ada)
    assert (await updates(ask))[-1]["message"]["text"] == "hello"
    wish = {"chat_id": group.id, "message_id": message.id}
    assert (await ask("deleteMessage", **wish))["description"] == "Bad Request: message can't be deleted"
    await group.bot_is("administrator", by=ada, can_delete_messages=True)
    assert (await ask("deleteMessage", **wish))["ok"]
    assert not group.messages


async def test_delete_many(api: BotApi, ask: Ask) -> None:
    """All or none; what is not found is skipped."""
    group = api.group()
    for text in "abc":
        await ask("sendMessage", chat_id=group.id, text=text)
    await group.send_text("mine", by=api.user(7))
    assert not (await ask("deleteMessages", chat_id=group.id, message_ids=[1, 4]))["ok"]
    assert not (await ask("deleteMessages", chat_id=group.id, message_ids=[]))["ok"]
    assert not (await ask("deleteMessages", chat_id=group.id, message_ids=list(range(101))))["ok"]
    assert (await ask("deleteMessages", chat_id=group.id, message_ids=[1, 2, 99]))["result"] is True
    assert [message.text for message in group.messages] == ["c", "mine"]
