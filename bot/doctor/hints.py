"""What the settings mean for people, told without asking anybody."""

from bot.doctor.patient import Patient
from bot.doctor.report import Finding, ok, warning


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
