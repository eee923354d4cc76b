"""What the bot says: a text, with the buttons or the question under it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Say:
    """HTML, and the buttons under it. With `asks`, the placeholder of an input field, it wants a reply (ForceReply)."""

    text: str
    buttons: tuple[Button, ...] = ()
    asks: str | None = None

    @property
    def wants_answer(self) -> bool:
        """Whether nothing goes on until its reader has done something."""
        return bool(self.buttons) or self.asks is not None
