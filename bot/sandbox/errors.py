"""A refusal in the Bot API's own words."""

from typing import Any


class BotApiError(Exception):
    """What becomes `{"ok": false, "error_code": …, "description": …, "parameters": …}`.

    https://core.telegram.org/bots/api#making-requests and #responseparameters
    """

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters
