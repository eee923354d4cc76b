"""Telling systemd how the service stands (https://www.freedesktop.org/software/systemd/man/sd_notify.html)."""

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger()

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


class Notifier:
    """Says nothing where nobody listens: `NOTIFY_SOCKET` names who does."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._is_heard = True
        self._address = "\0" + address[1:] if address.startswith("@") else address  # Linux's abstract names

    def say(self, state: str) -> None:
        """Send a state; if that fails, whoever listens will notice by themselves."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
                listener.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if self._is_heard:
                log.warning("systemd can't be told", state=state, error=type(error).__name__)
            self._is_heard = False
        else:
            self._is_heard = True
