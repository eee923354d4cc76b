"""A new APP_SECRET beside the previous one: nothing that was given out before stops working, until it is let go."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bot.config import Settings
from bot.resources import Keys
from storage.objects import LocalStore, MediaSigner, new_key
from world import PHOTO, World, world

OLD, NEW = "the-old-secret-of-the-app", "the-new-secret-of-the-app"


@dataclass
class Outside:
    """What the outside holds since the old days: a signed URL, and Telegram's secret."""

    media_path: str
    telegram_secret: str

    async def is_let_in(self, here: World) -> tuple[bool, bool]:
        """Whether its URL opens, and its updates are taken."""
        root_url = here.settings.public_url
        async with httpx.AsyncClient() as http:
            media = await http.get(f"{root_url}{self.media_path}")
            headers = {"X-Telegram-Bot-Api-Secret-Token": self.telegram_secret}
            update = await http.post(f"{root_url}/telegram", headers=headers, json={"update_id": 1})
        return media.status_code == 200, update.status_code == 200


async def outside_with(settings: Settings) -> Outside:
    keys = Keys.of(settings)
    store = LocalStore(Path(settings.media_store), MediaSigner(keys.media, ""))
    await store.start()
    key = new_key("in", "jpg")
    await store.put(key, PHOTO)
    return Outside(store.url(key, ttl_seconds=3600), keys.telegram_webhook[0])


async def test_the_previous_secret_opens_until_it_is_let_go(tmp_path: Path) -> None:
    async with world(tmp_path, app_secret=NEW, app_secret_previous=OLD) as here:
        before = await outside_with(here.settings.model_copy(update={"app_secret": here.settings.app_secret_previous}))
        now = await outside_with(here.settings)
        assert await before.is_let_in(here) == (True, True)
        assert await now.is_let_in(here) == (True, True)
        assert (before.media_path, before.telegram_secret) != (now.media_path, now.telegram_secret)

    async with world(tmp_path, app_secret=NEW, telegram_updates="webhook") as here:
        assert await before.is_let_in(here) == (False, False)
        assert await now.is_let_in(here) == (True, True)
        webhook = here.telegram.updates.webhook
        assert webhook is not None
        assert webhook.secret_token == now.telegram_secret


def test_what_is_given_out_from_now_on_comes_from_the_new_secret() -> None:
    """And no two keys are the same."""
    both = Keys.of(settings_with(app_secret=NEW, app_secret_previous=OLD))
    new = Keys.of(settings_with(app_secret=NEW))
    assert (both.media[0], both.telegram_webhook[0]) == (new.media[0], new.telegram_webhook[0])
    assert len({*both.media, *(bytes.fromhex(key) for key in both.telegram_webhook)}) == 4


def settings_with(**values: Any) -> Settings:
    required: dict[str, Any] = {"telegram_bot_token": "1:x", "akool_api_key": "x", "public_url": "https://bot.example"}
    return Settings(_env_file=None, **(required | values))  # type: ignore[call-arg]
