"""What holds for all tests: no values of variables in tracebacks, and a word about each test that hangs."""

import asyncio
import faulthandler
import gc
import os
from collections.abc import Generator
from threading import Timer

import pytest
import structlog

pytest_plugins = ["databases", "s3_servers", "victims"]

_HANGS_AFTER_SECONDS = 100  # before pytest-timeout ends the process without a word about tasks
_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr] = os.dup(2)  # as it is before the output of tests is captured


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tell what all tasks wait for, where a test takes too long."""
    timer = Timer(_HANGS_AFTER_SECONDS, _tell_of_tasks, [item.nodeid, item.config.stash[_stderr]])
    timer.daemon = True
    if item.get_closest_marker("timeout") is None:  # else it is known to take long
        timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _tell_of_tasks(test: str, stderr: int) -> None:
    tasks = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task) and not thing.done()]
    faulthandler.dump_traceback(stderr)
    with os.fdopen(os.dup(stderr), "w") as output:
        print(f"\n{test} takes long; its tasks:", file=output)
        for task in tasks:
            task.print_stack(file=output)


# As in the service: a traceback without the values of variables, which structlog shows where rich is installed.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
