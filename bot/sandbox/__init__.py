"""A local Telegram (`BotApi`) and a local AKOOL (`Akool`), speaking the vendors' HTTP, for the demo and the tests."""

from bot.sandbox.akool import Akool
from bot.sandbox.chats import Chat, Message, Sender
from bot.sandbox.server import serve
from bot.sandbox.stand_in import Call
from bot.sandbox.telegram import BotApi
from bot.sandbox.videos import Video

__all__ = ["Akool", "BotApi", "Call", "Chat", "Message", "Sender", "Video", "serve"]
