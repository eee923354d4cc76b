"""How the local AKOOL calls back: signed, encrypted, and again until it is answered 200.

https://docs.akool.com/ai-tools-suite/webhook
"""

import asyncio
import random
from typing import Literal

import httpx

from akool.webhook import seal_callback
from bot.sandbox.accounts import Account
from bot.sandbox.stand_in import StandIn
from bot.sandbox.videos import COMPLETED, FAILED, Callback, Raw, Video

Callbacks = Literal["normal", "never", "twice", "in pieces", "early"]
"""How it is told that a video is done: once; never; twice the same; first as processing, then completed without a
URL, then with it (all seen in the wild); or once, before the create call is answered."""

_TRIES = 5


class Caller:
    def __init__(self, server: StandIn, account: Account, *, retry_seconds: float) -> None:
        self._server = server
        self._account = account
        self._retry_seconds = retry_seconds

    async def tell(self, video: Video, callbacks: Callbacks, *, url: str) -> None:
        """Call back about a video that is completed or failed."""
        done = {"status": COMPLETED, "url": url, "deduction_credit": video.credits}
        match callbacks:
            case "never":
                news: list[Raw] = []
            case _ if video.status == FAILED:
                news = [{"status": FAILED}]
            case "twice":
                news = [done, done]
            case "in pieces":
                news = [{"status": COMPLETED}, done]
            case _:
                news = [done]
        for content in news:
            await self.insist(video, content)

    async def insist(self, video: Video, content: Raw) -> None:
        """Call back until the answer is exactly 200, five times at most; not at all where nobody asked for it."""
        if not video.request.get("webhookUrl"):
            return
        for failures in range(_TRIES):
            await asyncio.sleep(self._retry_seconds * (2**failures - 1))
            if (await self.call_back(video, content)).http_status == httpx.codes.OK:
                return

    async def call_back(self, video: Video, content: Raw) -> Callback:
        """Call back once."""
        content = {"_id": video.id, "type": "talking photo"} | content
        body = seal_callback(
            content,
            client_id=self._account.client_id,
            client_secret=self._account.client_secret,
            timestamp_ms=self._server.now_ms,
            nonce=str(random.randint(1000, 9999)),
        )
        headers = {"Content-Type": "application/json"}
        try:
            response = await self._server.http.post(video.request["webhookUrl"], content=body, headers=headers)
            http_status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            http_status = 0
        callback = Callback(content, http_status, self._server.now_ms)
        video.callbacks.append(callback)
        await self._server.announce()
        return callback
