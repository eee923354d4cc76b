"""What the settings mean for people, told without asking anybody."""

from bot.doctor.patient import Patient
from bot.doctor.report import Finding, ok, warning

_LEAST_CHARACTERS = 24


async def access(patient: Patient) -> list[Finding]:
    settings = patient.settings
    if settings.allowed_users or settings.allowed_chats:
        return [ok("access", "ALLOWED_USERS and ALLOWED_CHATS say who may use the bot.")]
    return [
        warning(
            "access",
            "ALLOWED_USERS and ALLOWED_CHATS are empty: nobody but ADMIN_USERS may use the bot.",
            "Set them, to numeric ids or *, or let in people with /allow.",
        )
    ]


async def alarms(patient: Patient) -> list[Finding]:
    if patient.settings.admins:
        return [ok("alarms", "ADMIN_USERS hear of troubles.")]
    return [
        warning("alarms", "ADMIN_USERS names nobody: nobody hears of troubles.", "Set it to your numeric Telegram id.")
    ]


async def app_secret(patient: Patient) -> list[Finding]:
    given = patient.settings.app_secret
    if given is None or len(given.get_secret_value()) >= _LEAST_CHARACTERS:
        return [ok("app-secret", "APP_SECRET can't be guessed.")]
    return [
        warning(
            "app-secret",
            "APP_SECRET is short: whoever guesses it can sign media addresses and pass for Telegram.",
            "Set it to what `openssl rand -hex 32` makes, and the one until now to APP_SECRET_PREVIOUS for a week.",
        )
    ]
