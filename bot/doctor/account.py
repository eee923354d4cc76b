"""The account at AKOOL: key, credit, and whether its callbacks can be opened."""

import akool
from bot.config import Settings
from bot.doctor.patient import NotChecked, Patient
from bot.doctor.report import Finding, ok, problem, warning
from bot.resources import akool_auth

_LITTLE_CREDIT = 100  # a few videos: a short one has been seen to cost 10 to 30
_OPERATORS = (akool.InvalidToken, akool.PermissionDenied)
_SAMPLE = {"_id": "0123456789abcdef01234567", "status": 3}


async def credentials(patient: Patient) -> list[Finding]:
    client = akool.Client(patient.http, akool_auth(patient.settings), base_url=patient.settings.akool_api_url)
    try:
        credit = await client.get_credit()
    except _OPERATORS as error:
        return [refused(error)]
    except akool.AkoolError as error:
        what = "AKOOL_API_URL leads to it, and that this machine reaches the internet"
        return [problem("akool.credentials", f"{error}.", f"Try again later, and see that {what}.")]
    return [ok("akool.credentials", "AKOOL takes the key."), _credit(credit)]


def refused(error: akool.AkoolError) -> Finding:
    return problem(
        "akool.credentials",
        f"{error}.",
        "Set AKOOL_API_KEY (or AKOOL_CLIENT_ID and AKOOL_CLIENT_SECRET) as akool.com shows it under API Credentials.",
    )


def _credit(credit: float) -> Finding:
    found = f"The account has {credit:g} credits."
    if credit <= 0:
        return problem("akool.credit", found, "Buy credits at akool.com; until then jobs wait.")
    if credit < _LITTLE_CREDIT:
        return warning("akool.credit", found, "Buy more at akool.com before they end.")
    return ok("akool.credit", found)


async def callbacks(patient: Patient) -> list[Finding]:
    """With the client id callbacks can be opened, and a create call whose answer was lost finds its way home."""
    settings = patient.settings
    if settings.public_url is None:
        return [ok("akool.callbacks", "Without PUBLIC_URL there are no callbacks: results are found by asking.")]
    if not settings.callback_id:
        return [
            warning(
                "akool.callbacks",
                "Without AKOOL_CLIENT_ID callbacks can't be opened: a paid video whose answer is lost can't come home.",
                "Set AKOOL_CLIENT_ID as akool.com shows it under API Credentials.",
            )
        ]
    if not _opens(settings):
        return [
            warning(
                "akool.callbacks",
                "Callbacks can't be opened: the client secret (AKOOL_CLIENT_SECRET, else AKOOL_API_KEY) has a length"
                " that no key has.",
                "Set it as akool.com shows it: 16, 24 or 32 characters.",
            )
        ]
    return [await _known(patient, settings)]


def _opens(settings: Settings) -> bool:
    keys = {"client_id": settings.callback_id or "", "client_secret": settings.callback_secret or ""}
    try:
        akool.open_callback(akool.seal_callback(_SAMPLE, timestamp_ms=1, nonce="1", **keys), **keys)
    except (ValueError, akool.AkoolError):
        return False
    return True


async def _known(patient: Patient, settings: Settings) -> Finding:
    """A wrong client id would leave every callback shut, and only AKOOL can tell."""
    pair = akool.ClientCredentials(settings.callback_id or "", settings.callback_secret or "")
    try:
        await akool.Client(patient.http, pair, base_url=settings.akool_api_url).get_credit()
    except _OPERATORS:
        return warning(
            "akool.callbacks",
            "AKOOL does not know AKOOL_CLIENT_ID together with this secret: callbacks could not be opened.",
            "Set both as akool.com shows them under API Credentials.",
        )
    except akool.AkoolError as error:
        raise NotChecked(f"AKOOL did not tell whether it knows AKOOL_CLIENT_ID ({type(error).__name__})") from None
    return ok("akool.callbacks", "AKOOL knows the client id, so callbacks can be opened.")
