"""Telegram: the token, what the bot may see, and who else takes its updates. Nothing here acknowledges an update."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from bot.doctor.patient import NotChecked, Patient
from bot.doctor.report import Finding, ok, problem, warning
from bot.patience import HOUR_MS, SECOND_MS

_WRONG_TOKEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND)
_MANY_PENDING = 100
# https://core.telegram.org/bots/api#setwebhook: "Ports currently supported for webhooks"
_WEBHOOK_PORTS = (443, 80, 88, 8443)
_CLOUD = "api.telegram.org"


class _Refused(Exception):
    def __init__(self, status: int, description: str) -> None:
        super().__init__(f"HTTP {status}, {description}")
        self.status = status


async def token(patient: Patient) -> list[Finding]:
    try:
        patient.me = me = await _ask(patient, "getMe")
    except _Refused as refused:
        if refused.status in _WRONG_TOKEN:
            return [
                problem(
                    "telegram.token",
                    "Telegram does not know this TELEGRAM_BOT_TOKEN.",
                    "Ask @BotFather for it (/token).",
                )
            ]
        return [problem("telegram.token", f"Telegram answers {refused}.", "Try again later.")]
    except httpx.HTTPError as error:
        return [
            problem(
                "telegram.token",
                f"Telegram can't be reached: {type(error).__name__}.",
                "Let this machine reach the internet, or set TELEGRAM_API_URL right.",
            )
        ]
    return [ok("telegram.token", f"The bot is @{me.get('username')}.")]


async def privacy(patient: Patient) -> list[Finding]:
    """https://core.telegram.org/bots/features#privacy-mode"""
    if _logged_in(patient).get("can_read_all_group_messages"):
        return [
            ok(
                "telegram.privacy",
                "Privacy mode is off: Telegram sends the bot all that is written in its groups, and it needs none of"
                " that (@BotFather, /setprivacy).",
            )
        ]
    return [
        ok(
            "telegram.privacy",
            "Privacy mode is on: in groups the bot gets commands and replies to itself, which is all that it needs.",
        )
    ]


async def groups(patient: Patient) -> list[Finding]:
    if _logged_in(patient).get("can_join_groups", True):
        return [ok("telegram.groups", "The bot may be added to groups.")]
    if not patient.settings.allowed_chats:
        return [ok("telegram.groups", "The bot can't be added to groups, and ALLOWED_CHATS names none.")]
    return [
        warning(
            "telegram.groups",
            "The bot can't be added to groups, though ALLOWED_CHATS lets some in.",
            "Send /setjoingroups to @BotFather.",
        )
    ]


async def admins(patient: Patient) -> list[Finding]:
    """No bot can begin a chat: who has never written to it hears of no trouble."""
    _logged_in(patient)
    strangers = [str(admin) for admin in patient.settings.admins if not await _is_known(patient, admin)]
    if not strangers:
        return [ok("telegram.admins", "ADMIN_USERS can be written to.")] if patient.settings.admins else []
    return [
        warning(
            "telegram.admins",
            f"Of ADMIN_USERS the bot can't write to {', '.join(strangers)}, who would hear of no trouble.",
            "Each of them must send the bot /start once, since no bot can begin a chat.",
        )
    ]


async def _is_known(patient: Patient, user_id: int) -> bool:
    try:
        await _ask(patient, "getChat", chat_id=user_id)
    except _Refused as refused:
        return "chat not found" not in str(refused)
    except httpx.HTTPError as error:
        raise NotChecked(_why(error)) from None
    return True


async def webhook(patient: Patient) -> list[Finding]:
    _logged_in(patient)
    try:
        info = await _ask(patient, "getWebhookInfo")
    except (_Refused, httpx.HTTPError) as error:
        raise NotChecked(_why(error)) from None
    patient.has_webhook = bool(info.get("url"))
    if patient.settings.telegram_updates == "polling":
        return [_webhook_while_polling(patient)]
    return [_own_webhook(patient, info)]


def _webhook_while_polling(patient: Patient) -> Finding:
    if not patient.has_webhook:
        return ok("telegram.webhook", "No webhook is set, so updates come by polling.")
    return warning(
        "telegram.webhook",
        "A webhook is set, though TELEGRAM_UPDATES is polling.",
        "The bot removes it when it starts; if it comes back, another program uses this token: give each its own.",
    )


def _own_webhook(patient: Patient, info: dict[str, Any]) -> Finding:
    root = patient.settings.public_url or ""
    parts = urlsplit(root)
    pending = info.get("pending_update_count", 0)
    error_age_ms = patient.clock.now() - info.get("last_error_date", 0) * SECOND_MS
    if urlsplit(patient.settings.telegram_api_url).hostname == _CLOUD and (parts.port or 443) not in _WEBHOOK_PORTS:
        return problem(
            "telegram.webhook",
            f"Telegram posts updates to the ports 443, 80, 88 and 8443 only, and PUBLIC_URL has {parts.port}.",
            "Change PUBLIC_URL, or set TELEGRAM_UPDATES=polling.",
        )
    if not patient.has_webhook:
        return ok("telegram.webhook", "No webhook is set yet; the bot sets it when it starts.")
    if info["url"] != f"{root}/telegram":
        return warning(
            "telegram.webhook",
            "The webhook that is set leads elsewhere.",
            "Start the bot anew, which sets it; if it changes again, another program uses this token: give it its own.",
        )
    if error_age_ms < HOUR_MS:
        return warning(
            "telegram.webhook",
            f"Telegram could not deliver an update {error_age_ms // SECOND_MS} seconds ago:"
            f" {info.get('last_error_message')}; {pending} wait.",
            "See that the bot runs, and that PUBLIC_URL leads to it.",
        )
    if pending > _MANY_PENDING:
        return warning("telegram.webhook", f"{pending} updates wait for the bot.", "See that the bot runs.")
    return ok("telegram.webhook", f"The webhook is set; {pending} updates wait.")


async def poller(patient: Patient) -> list[Finding]:
    """Poll for a moment: another program that polls ends our poll by its next one, and Telegram says so with a 409.

    Without an offset nothing is acknowledged, and without `allowed_updates` nothing is changed.
    """
    _logged_in(patient)
    if patient.settings.telegram_updates == "webhook":
        return []
    if patient.bot_runs:
        return [ok("telegram.poller", "The running bot itself polls, or a replica of it.")]
    if patient.has_webhook:
        raise NotChecked("a webhook is set")
    try:
        await _ask(patient, "getUpdates", timeout=patient.listen_seconds, limit=1)
    except (_Refused, httpx.HTTPError) as error:
        if isinstance(error, _Refused) and error.status == HTTPStatus.CONFLICT:
            return [_other_poller(patient)]
        raise NotChecked(_why(error)) from None
    return [ok("telegram.poller", "No other program polls with this token.")]


def _other_poller(patient: Patient) -> Finding:
    if patient.bot_runs is None:
        return warning(
            "telegram.poller",
            "A program polls with this token.",
            "If it is not this very bot, stop it, or give each its own token (@BotFather).",
        )
    return problem(
        "telegram.poller", "Another program polls with this token.", "Stop it, or give each its own token (@BotFather)."
    )


def _why(error: Exception) -> str:
    """In words that hold no URL, and so no token."""
    return (
        f"Telegram answered {error}"
        if isinstance(error, _Refused)
        else f"Telegram gave no answer ({type(error).__name__})"
    )


def _logged_in(patient: Patient) -> dict[str, Any]:
    if patient.me is None:
        raise NotChecked("Telegram did not say who the bot is")
    return patient.me


async def _ask(patient: Patient, method: str, **parameters: Any) -> Any:
    settings = patient.settings
    url = f"{settings.telegram_api_url}/bot{settings.telegram_bot_token.get_secret_value()}/{method}"
    response = await patient.http.post(url, json=parameters)
    try:
        answer = response.json()
        if response.is_success:
            return answer["result"]
        description = str(answer["description"])
    except (ValueError, KeyError, TypeError):
        description = "with nothing that a Bot API server says"
    raise _Refused(response.status_code, description)
