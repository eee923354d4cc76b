"""Who speaks to the bot: their identity, their language, and whether they are let in."""

from dataclasses import dataclass

from telegram import Chat, Update

from bot.config import Settings
from bot.texts import Words, closest_language, words_for
from bot.values import Ids
from storage.peers import Access, Peer, Peers


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, or the chat for which an anonymous admin or a channel speaks: its id is then below 0."""

    id: int
    chat: Chat
    words: Words
    peer: Peer
    is_allowed: bool
    is_admin: bool
    """Whether it is one of `ADMIN_USERS`, the operators of this bot."""

    @property
    def in_group(self) -> bool:
        return self.chat.type != Chat.PRIVATE

    @property
    def is_shared(self) -> bool:
        """Whether several people may be behind this identity."""
        return self.id < 0


class Callers:
    def __init__(self, settings: Settings, peers: Peers) -> None:
        self._settings = settings
        self._peers = peers

    async def of(self, update: Update) -> Caller | None:
        """Who has sent an update; None where nobody speaks to us, as in a channel's post that a group shows."""
        user, chat, said = update.effective_user, update.effective_chat, update.message or update.edited_message
        if user is None or chat is None or (said is not None and said.is_automatic_forward):
            return None
        shared = said.sender_chat if said is not None else None
        caller_id = shared.id if shared is not None else user.id
        peer, chat_peer = await self._peers.get(caller_id, chat.id)
        is_admin = user.id in self._settings.admin_users and shared is None
        return Caller(
            id=caller_id,
            chat=chat,
            words=words_for(peer.language or closest_language(user.language_code)),
            peer=peer,
            is_allowed=is_admin or self._may_enter(peer, chat_peer),
            is_admin=is_admin,
        )

    def _may_enter(self, peer: Peer, chat: Peer) -> bool:
        """What an operator has commanded counts before the settings' lists, and a no before a yes."""
        if Access.DENIED in {peer.access, chat.access}:
            return False
        return (
            Access.ALLOWED in {peer.access, chat.access}
            or _among(peer.id, self._settings.allowed_users | self._settings.admin_users)
            or _among(chat.id, self._settings.allowed_chats)
        )


def _among(number: int, ids: Ids) -> bool:
    return "*" in ids or number in ids
