"""Calls the local Bot API server as a bot would."""

import io
import json
from collections.abc import Callable, Coroutine
from typing import Any

from PIL import Image

from bot.sandbox import BotApi

Raw = dict[str, Any]
Ask = Callable[..., Coroutine[Any, Any, Raw]]
YES = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes:1"}]]}


def asking(api: BotApi) -> Ask:
    """Calls a method with its parameters, and returns the whole answer."""

    async def ask(method: str, files: Any = None, **parameters: Any) -> Raw:
        url = f"{api.root_url}/bot{api.token}/{method}"
        if files is None:
            response = await api.http.post(url, json=parameters)
        else:
            fields = {
                name: json.dumps(value) if isinstance(value, dict) else value for name, value in parameters.items()
            }
            response = await api.http.post(url, data=fields, files=files)
        answer: Raw = response.json()
        assert response.status_code == answer.get("error_code", 200)
        return answer

    return ask


async def updates(ask: Ask, **parameters: Any) -> list[Raw]:
    found: list[Raw] = (await ask("getUpdates", **parameters))["result"]
    return found


def jpeg(width: int = 640, height: int = 480) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(sink, "JPEG")
    return sink.getvalue()
