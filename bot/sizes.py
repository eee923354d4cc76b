"""How large a file may be on its way through a Bot API server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The most bytes of a file that comes from a person (`down`), and of one that goes to a chat (`up`)."""

    down: int
    up: int


# https://core.telegram.org/bots/api#getfile: "bots can download files of up to 20MB in size"
# https://core.telegram.org/bots/api#sending-files: "50 MB max size for other files"
TELEGRAMS_OWN = Sizes(down=20 << 20, up=50 * 1000 * 1000)

# https://core.telegram.org/bots/api#using-a-local-bot-api-server: downloads "without a size limit", uploads "up to
# 2000 MB". The limit for what comes is ours: a video of the longest voice fits, and a few of them still fit our disk.
LOCAL = Sizes(down=200 << 20, up=2000 * 1000 * 1000)
