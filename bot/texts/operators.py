"""What the operator hears: alarms, and the answers to the operator's commands."""

from collections.abc import Sequence
from html import escape
from itertools import accumulate

from bot.texts.saying import Say
from bot.texts.words import N_, Words
from storage.breaker import Pause
from storage.job import Job
from storage.ledger import Call
from storage.peers import Access, Peer
from storage.reports import Report

_LIST_ROOM = 700  # characters of each of five lists: a message has room for 4096
_MOST_LINES = 30

ACCOUNT_ALARM = "akool account"
DELIVERY_ALARM = "telegram delivery"
MEDIA_ALARM = "media"

ACCOUNT_TROUBLE = N_("No videos are being made: {what} Jobs wait meanwhile, and go on by themselves when it is mended.")
OUT_OF_CREDIT = N_("the AKOOL account has no credit left, or a payment is overdue. Top it up at akool.com.")
KEY_REFUSED = N_(
    "AKOOL does not accept the API key. Set AKOOL_API_KEY (or the client id and secret) anew, and restart the bot."
)
ACCOUNT_REFUSED = N_("AKOOL refuses the account. Look at its state and plan at akool.com.")
ACCOUNT_WORKS_AGAIN = N_("Videos are being made again: AKOOL takes jobs of this account.")
DELIVERY_TROUBLE = N_(
    "Telegram does not take videos: that of job {job} was refused for a whole day. Those that fail are kept, "
    "and their owners can have them sent again. Look at the bot's log, and at <code>python -m bot jobs --state "
    "failed</code>."
)
DELIVERY_WORKS_AGAIN = N_("Telegram takes videos again.")
MEDIA_TROUBLE = N_(
    "AKOOL can't fetch photos and voice notes from the bot, so no video can be made. Does the tunnel or proxy "
    "before it run, and does PUBLIC_URL lead to it? <code>python -m bot doctor</code> tells more."
)
MEDIA_WORKS_AGAIN = N_("AKOOL can fetch photos and voice notes again.")

ADMIN_CREDIT = N_("Credit left at AKOOL: {credit}")
ADMIN_CREDIT_UNKNOWN = N_("AKOOL can't be asked for the credit at the moment.")
ADMIN_JOBS = N_("Open jobs: {counts}")
ADMIN_TODAY = N_("Last 24 hours: {delivered} delivered, {failed} failed ({share} success), paid calls: {calls}")
ADMIN_RENDER = N_("A render takes {time} (median)")
ADMIN_PAUSED = N_("Submitting is paused by an admin: /resume goes on.")
ADMIN_BREAKER = N_("Submitting is paused since {when}, since AKOOL refuses the account ({reason}).")
ADMIN_SET_ASIDE = N_("Updates that could not be handled: {n}")
ADMIN_ERRORS = N_("Last failures:")
ADMIN_NO_ERRORS = N_("No failures in the last week.")
ADMIN_HELP = N_("/allow ID, /deny ID, /allowed, /limit ID N, /pause, /resume, /job ID, /retry ID")

NEEDS_ID = N_("Please add an id: {example}")
NEEDS_LIMIT = N_("Please add an id, and how many videos a day: {example}")
NOW_ALLOWED = N_("{id} is allowed now.")
NOW_DENIED = N_("{id} is not allowed any more.")
CANT_DENY_ADMIN = N_("{id} is an admin by the settings and stays allowed.")
ALLOWED_BY_SETTINGS = N_("By the settings: users {users}; chats {chats}")
ALLOWED_BY_COMMAND = N_("Allowed by command: {ids}")
DENIED_BY_COMMAND = N_("Denied by command: {ids}")
LIMITS_BY_COMMAND = N_("Daily limits by command: {limits}")
NOBODY = N_("nobody")
EVERYBODY = N_("everybody")
LIMIT_SET = N_("{id} now has {limit} videos a day.")
LIMIT_GONE = N_("{id} now has no daily limit.")
PAUSED = N_("Paused: nothing is submitted to AKOOL until /resume. What is being made goes on.")
RESUMED = N_("Jobs are submitted again.")
NO_SUCH_JOB = N_("There is no job {id}.")
CANT_RETRY = N_("Job {id} can't be tried again: it has not failed, was tried again already, or its files are gone.")
RETRIED = N_("Job {id} is tried again.")

ADMIN_COMMANDS = {
    "admin": N_("How the bot is doing"),
    "allow": N_("Let a person or a chat in: ID"),
    "deny": N_("Keep a person or a chat out: ID"),
    "allowed": N_("Who is let in"),
    "limit": N_("Videos a day for a person or a chat: ID N"),
    "pause": N_("Submit nothing for now"),
    "resume": N_("Submit again"),
    "job": N_("The story of a job: ID"),
    "retry": N_("Try a failed job again: ID"),
}


def alarm(words: Words, key: str, about: str, *, is_over: bool) -> str:
    """A trouble by its key; `about` is the account's trouble by its name, or the job whose video was refused."""
    if key == MEDIA_ALARM:
        return words(MEDIA_WORKS_AGAIN if is_over else MEDIA_TROUBLE)
    if key == DELIVERY_ALARM:
        return words(DELIVERY_WORKS_AGAIN) if is_over else words(DELIVERY_TROUBLE, job=about)
    if is_over:
        return words(ACCOUNT_WORKS_AGAIN)
    what = {"OutOfCredit": OUT_OF_CREDIT, "InvalidToken": KEY_REFUSED}.get(about, ACCOUNT_REFUSED)
    return words(ACCOUNT_TROUBLE, what=words(what))


def overview(
    words: Words, report: Report, *, credit: float | None, pause: Pause | None, is_paused: bool, now: int
) -> Say:
    """The answer to /admin."""
    ended = report.delivered_today + report.failed_today
    lines = [
        words(ADMIN_CREDIT_UNKNOWN) if credit is None else words(ADMIN_CREDIT, credit=words.number(credit)),
        words(ADMIN_JOBS, counts=", ".join(f"{state} {n}" for state, n in report.by_state.items() if n) or "0"),
        words(
            ADMIN_TODAY,
            delivered=report.delivered_today,
            failed=report.failed_today,
            share=words.percent(report.delivered_today / ended if ended else 1),
            calls=report.spent_today,
        ),
    ]
    if report.median_render_ms is not None:
        lines.append(words(ADMIN_RENDER, time=words.duration(report.median_render_ms / 1000)))
    if is_paused:
        lines.append(words(ADMIN_PAUSED))
    if pause is not None:
        lines.append(words(ADMIN_BREAKER, when=words.ago(now - pause.since), reason=pause.reason))
    if report.set_aside:
        lines.append(words(ADMIN_SET_ASIDE, n=report.set_aside))
    lines.append(words(ADMIN_ERRORS if report.last_errors else ADMIN_NO_ERRORS))
    lines += [f"{words.moment(job.updated_at)}: {job.reason} (/job {job.id})" for job in report.last_errors]
    return Say("\n".join([*lines, "", words(ADMIN_HELP)]))


def allowed(words: Words, peers: Sequence[Peer], *, users: Sequence[str], chats: Sequence[str]) -> Say:
    """The answer to /allowed: the settings' lists, and what was changed since."""
    lines = [words(ALLOWED_BY_SETTINGS, users=_ids(words, users), chats=_ids(words, chats))]
    for access, message in ((Access.ALLOWED, ALLOWED_BY_COMMAND), (Access.DENIED, DENIED_BY_COMMAND)):
        if ids := [str(peer.id) for peer in peers if peer.access is access]:
            lines.append(words(message, ids=_some(ids)))
    if limits := [f"{peer.id}: {peer.daily_limit}" for peer in peers if peer.daily_limit is not None]:
        lines.append(words(LIMITS_BY_COMMAND, limits=_some(limits)))
    return Say("\n".join(lines))


def _some(items: Sequence[str]) -> str:
    """As many as there is room for, and how many more there are."""
    ends = accumulate(len(item) + len(", ") for item in items)
    shown = items[: sum(end <= _LIST_ROOM for end in ends)]
    more = len(items) - len(shown)
    return ", ".join(shown) + (f" … +{more}" if more else "")


def _ids(words: Words, ids: Sequence[str]) -> str:
    return words(EVERYBODY) if "*" in ids else _some(sorted(ids)) or words(NOBODY)


def story(words: Words, job: Job, calls: Sequence[Call]) -> Say:
    """The answer to /job: what happened to it, and when, without anything that was said or shown."""
    lines = [f"<b>{job.id}</b> {job.state}" + (f" ({job.reason})" if job.reason else "")]
    lines.append(f"user <code>{job.user_id}</code>, chat <code>{job.chat_id}</code>")
    lines += [f"{words.moment(at)} {state}" for state, at in job.story[-_MOST_LINES:]]
    if job.akool_id:
        lines.append(f"AKOOL <code>{escape(job.akool_id)}</code>")
    lines += [f"{words.moment(call.created_at)} create: {call.outcome or '…'}" for call in calls[-_MOST_LINES:]]
    return Say("\n".join(lines))
