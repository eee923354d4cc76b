"""The database, which a running bot may have open."""

from bot.doctor.patient import Patient
from bot.doctor.report import Finding, ok, problem, warning
from storage.engine import DATABASE_ERRORS, DatabaseError
from storage.inspection import Inspection, Schema, inspect_database


async def database(patient: Patient) -> list[Finding]:
    url = patient.settings.database_url.get_secret_value()
    try:
        inspection = await inspect_database(url)
    except DatabaseError as error:
        return [_unusable(str(error))]
    except (*DATABASE_ERRORS, ImportError) as error:
        return [_unusable(type(error.__cause__ or error).__name__)]
    if inspection is None:
        patient.bot_runs = False
        return [ok("database", "There is no database yet; the bot makes it when it starts.")]
    patient.bot_runs = inspection.is_in_use
    return [_schema(inspection)]


def _unusable(why: str) -> Finding:
    return problem(
        "database",
        f"The database can't be used: {why}.",
        "See whether DATABASE_URL names it, whether it runs, and whether its user and password are right.",
    )


def _schema(inspection: Inspection) -> Finding:
    in_use = ", and a running bot has the database open" if inspection.is_in_use else ""
    found = f"{inspection.server} answers{in_use}; its schema is"
    match inspection.schema:
        case Schema.CURRENT:
            return ok("database", f"{found} current.")
        case Schema.ABSENT | Schema.OLDER:
            return ok("database", f"{found} older than this program, which brings it up when it starts.")
        case Schema.NEWER:
            return problem("database", f"{found} newer than this program.", "Upgrade the program.")


async def replicas(patient: Patient) -> list[Finding]:
    """What keeps several processes from sharing a database."""
    settings = patient.settings
    if settings.uses_sqlite:
        return [ok("replicas", "With SQLite one process is the bot.")]
    lacks = [
        *(["MEDIA_STORE=s3://…"] if not settings.stores_in_s3 else []),
        *(["APP_SECRET"] if settings.app_secret is None else []),
    ]
    if lacks:
        return [
            warning(
                "replicas",
                "The database could be shared by several replicas, the other settings are for one process only.",
                f"Run one, or set {' and '.join(lacks)} as well (docs/scaling.md).",
            )
        ]
    if settings.telegram_updates == "polling":
        return [ok("replicas", "Several replicas may run with these settings; one of them polls.")]
    return [ok("replicas", "Several replicas may run with these settings.")]
