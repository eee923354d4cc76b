"""Answering people: a reply to what they wrote, a toast to a press."""

from contextlib import suppress

from telegram import (
    Bot,
    CallbackQuery,
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    ReplyParameters,
)
from telegram.constants import ParseMode
from telegram.error import BadRequest, Forbidden

from bot.outcomes import DeliveryFailed, telling_apart
from bot.texts import Say


def keyboard(say: Say) -> InlineKeyboardMarkup | ForceReply | None:
    """What stands under a message: its buttons, or the field that asks its reader alone for a reply."""
    if say.asks is not None:
        return ForceReply(selective=True, input_field_placeholder=say.asks)
    buttons = [InlineKeyboardButton(button.label, callback_data=button.data) for button in say.buttons]
    return InlineKeyboardMarkup([[button] for button in buttons]) if buttons else None


async def answer(bot: Bot, message: Message, say: Say) -> None:
    """Reply to a message, in its topic; silently where we may not, or were blocked right after it was written."""
    try:
        with telling_apart():
            await bot.send_message(
                message.chat_id,
                say.text,
                parse_mode=ParseMode.HTML,
                message_thread_id=thread_of(message) or None,
                reply_parameters=ReplyParameters(message.message_id, allow_sending_without_reply=True),
                reply_markup=keyboard(say),
            )
    except DeliveryFailed as failed:
        if not failed.chat_gone and not failed.not_allowed:
            raise failed.cause from failed


async def toast(query: CallbackQuery, text: str = "") -> None:
    """Answer a press; whoever waited too long gets none."""
    with suppress(BadRequest, Forbidden):
        await query.answer(text)


async def replace(query: CallbackQuery, say: Say) -> None:
    """Say something else in the message whose button was pressed."""
    markup = keyboard(say)
    if isinstance(query.message, Message):  # else it is too old, or gone
        with suppress(BadRequest, Forbidden):  # it says so already, or in a chat that has blocked us
            await query.edit_message_text(
                say.text,
                parse_mode=ParseMode.HTML,
                reply_markup=markup if isinstance(markup, InlineKeyboardMarkup) else None,
            )


async def strip_buttons(query: CallbackQuery) -> None:
    if isinstance(query.message, Message):
        with suppress(BadRequest, Forbidden):  # gone, stripped before, or in a chat that has blocked us
            await query.edit_message_reply_markup(None)


async def take_away(query: CallbackQuery) -> None:
    """Remove the message whose button was pressed."""
    if isinstance(query.message, Message):
        with suppress(BadRequest, Forbidden):
            await query.delete_message()


def thread_of(message: Message) -> int:
    """The topic that a message stands in; 0 for General and outside of forums.

    `message_thread_id` alone may be that of a mere chain of replies (https://core.telegram.org/bots/api#message).
    """
    return (message.message_thread_id or 0) if message.is_topic_message else 0
