"""A Telegram bot that makes photos talk."""

import os

# python-telegram-bot gives durations as timedelta from its next major version on; until then one asks for it.
os.environ.setdefault("PTB_TIMEDELTA", "1")
