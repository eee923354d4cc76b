"""Whether what runs in production has known vulnerabilities: `python -m tools.audit LOCK`.

Fails where one is known. Where nobody can be asked it says so in a line, since that is no fault of the code's.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SECONDS = 60

# What is known and does not concern us: its id, and why.
ACCEPTED: dict[str, str] = {}


def main(lock: str) -> int:
    """Audit a lock; returns the exit status."""
    dependencies = _report(lock)
    if dependencies is None:
        print("not audited: whoever knows of vulnerabilities can't be reached")
        return 0
    found = list(vulnerabilities(dependencies))
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    print(*found, sep="\n", end="\n" if found else "")
    if skipped:
        which = "nothing of it is known there" if len(skipped) == len(dependencies) else ", ".join(skipped)
        print(f"not audited: {which}")
    print(f"audited: {len(dependencies) - len(skipped)} of {len(dependencies)} packages, {len(found)} vulnerabilities")
    return 1 if found else 0


def vulnerabilities(dependencies: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each that is not accepted."""
    for dependency in dependencies:
        for known in dependency.get("vulns", ()):
            if not ACCEPTED.keys() & {known["id"], *known["aliases"]}:
                fixed = ", ".join(known["fix_versions"]) or "no version yet"
                yield f"{dependency['name']} {dependency['version']}: {known['id']} (fixed in {fixed})"


def _report(lock: str) -> list[dict[str, Any]] | None:
    """What pip-audit says about each package; None where it could not ask. It exits with 1 in both cases."""
    auditor = Path(sys.executable).with_name("pip-audit")
    options = ["--require-hashes", "--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=10"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [auditor, *options, "--format=json", "--requirement", lock],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return dependencies


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
