"""What a check has found, for people or for machines."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """`code` stays the same in every version, docs/doctor.md explains it; `do` is None where all is well."""

    status: Status
    code: str
    found: str
    do: str | None = None

    def line(self) -> str:
        return f"{self.status:<8} {self.code:<20} {self.found}{f' {self.do}' if self.do else ''}"

    def json(self) -> str:
        return json.dumps(asdict(self))


def ok(code: str, found: str) -> Finding:
    return Finding(Status.OK, code, found)


def warning(code: str, found: str, do: str) -> Finding:
    """Something does not work as well as it could."""
    return Finding(Status.WARNING, code, found, do)


def problem(code: str, found: str, do: str) -> Finding:
    """Something keeps the bot from working."""
    return Finding(Status.PROBLEM, code, found, do)
