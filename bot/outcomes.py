"""What became of a request to Telegram that raised: whether it may have taken effect, and what to do about it."""

from collections.abc import Sequence
from datetime import timedelta

import httpx
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)

# Descriptions of the Bot API server that will not change by trying again.
_CHAT_GONE = ("chat not found", "chat_write_forbidden", "peer_id_invalid", "user is deactivated")
_NOTES_FORBIDDEN = ("voice_messages_forbidden", "video_messages_forbidden")
_NOT_ALLOWED = ("not enough rights", "have no rights", "chat_send_videos_forbidden", "chat_restricted")
_MESSAGE_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")
_REPLIED_GONE = ("message to be replied not found", "replied message not found", "message to reply not found")
_THREAD_GONE = ("message thread not found", "topic_closed", "topic_deleted")


class DeliveryFailed(Exception):
    """A message did not get through, as far as we know.

    `may_be_sent`: whether it may stand in the chat all the same (the answer was lost).
    """

    def __init__(self, cause: TelegramError, *, may_be_sent: bool) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.may_be_sent = may_be_sent

    @property
    def is_final(self) -> bool:
        """Whether trying again is of no use."""
        return isinstance(self.cause, BadRequest | Forbidden | InvalidToken)

    @property
    def retry_after_seconds(self) -> float:
        """How long Telegram asked us to wait for this chat."""
        return wait_seconds(self.cause) if isinstance(self.cause, RetryAfter) else 0

    @property
    def chat_gone(self) -> bool:
        """Whether the chat will have nothing of us: we were blocked or removed, or it exists no more."""
        return isinstance(self.cause, Forbidden) or self._says(_CHAT_GONE)

    @property
    def outcome(self) -> str:
        """The kind of failure, in a word."""
        if self.chat_gone:
            return "chat_gone"
        if self.not_allowed:
            return "not_allowed"
        if isinstance(self.cause, RetryAfter):
            return "told_to_wait"
        return "unknown" if self.may_be_sent else "refused"

    @property
    def moved_to(self) -> int | None:
        """The id of the supergroup that the group has become."""
        return self.cause.new_chat_id if isinstance(self.cause, ChatMigrated) else None

    @property
    def thread_gone(self) -> bool:
        """Whether the topic is closed or was deleted."""
        return self._says(_THREAD_GONE)

    @property
    def replied_gone(self) -> bool:
        """Whether the message that is replied to was deleted."""
        return self._says(_REPLIED_GONE)

    @property
    def message_gone(self) -> bool:
        """Whether the message to be edited can't be."""
        return self._says(_MESSAGE_GONE)

    @property
    def not_allowed(self) -> bool:
        """Whether the group lets us write, but send no videos."""
        return self._says(_NOT_ALLOWED)

    @property
    def notes_forbidden(self) -> bool:
        """Whether this person takes no round videos (a privacy setting of Telegram Premium)."""
        return self._says(_NOTES_FORBIDDEN)

    @property
    def is_unchanged(self) -> bool:
        """Whether the message said just this already."""
        return self._says(("message is not modified",))

    def _says(self, words: Sequence[str]) -> bool:
        return isinstance(self.cause, BadRequest) and any(word in self.cause.message.lower() for word in words)


class telling_apart:  # noqa: N801 - used as a statement
    """Turns Telegram's errors into `DeliveryFailed`, by what they tell of the message's fate."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TelegramError):
            raise DeliveryFailed(error, may_be_sent=not _surely_unsent(error)) from error


def _surely_unsent(error: TelegramError) -> bool:
    """Whether the request never left us, or the Bot API server itself answered that it failed."""
    if isinstance(error, RetryAfter | BadRequest | Forbidden | ChatMigrated | InvalidToken | Conflict):
        return True
    never_left = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    answered_in_json = isinstance(error, NetworkError) and error.__cause__ is None
    return never_left or answered_in_json


def wait_seconds(error: RetryAfter) -> float:
    wait = error.retry_after
    return wait.total_seconds() if isinstance(wait, timedelta) else wait
