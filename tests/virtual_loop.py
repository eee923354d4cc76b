"""An event loop whose time jumps to the next timer, and in which a process is a set of tasks that can be stopped.

Nothing in it waits: where no task can go on, time passes at once until one can. What would run in a thread runs here
and now instead. So a run is decided by its inputs alone, and hours cost milliseconds.

A `Process` is whatever was started in its context, and whatever that started in turn. A stopped process runs no
line of code, as after SIGSTOP: what becomes ready meanwhile, its expired timers too, waits until it may go on.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar, cast

Result = TypeVar("Result")

_process: ContextVar["Process | None"] = ContextVar("process", default=None)


class NothingWillHappen(Exception):
    """Every task waits for another one: the program hangs."""


class Process:
    """Tasks that live, stop, and die together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_stopped = False
        self.held_up: list[asyncio.Handle] = []
        self._loop = cast("VirtualLoop", asyncio.get_running_loop())
        self._context = copy_context()
        self._context.run(_process.set, self)

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        return self._loop.create_task(work, context=self._context)

    def stop(self) -> None:
        """Run nothing more from now on, but for what the running task does before it next waits."""
        self.is_stopped = True

    def go_on(self) -> None:
        self.is_stopped = False
        self._loop.run_soon(self.held_up)
        self.held_up = []


class _Handle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        if not _is_held_up(self):
            super()._run()


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        if not _is_held_up(self):
            super()._run()


def _is_held_up(handle: Any) -> bool:
    process = handle._context.get(_process)
    if process is None or not process.is_stopped:
        return False
    process.held_up.append(handle)
    return True


class _Selector(selectors.DefaultSelector):
    """Waits for nothing and nobody, but lets the time pass that it was told to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.is_patient = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.is_patient:
            return super().select(timeout)
        if timeout is None:
            raise NothingWillHappen
        self.now += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._time = _Selector()
        super().__init__(self._time)
        self._living: set[asyncio.Task[Any]] = set()
        self.set_task_factory(self._kept)

    def time(self) -> float:
        return self._time.now

    def begin_anew(self) -> None:
        """Let it be the beginning of time again; only while nobody waits for anything."""
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        timers.clear()  # they are cancelled
        self._time.now = 0.0

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Wait for real, where a thread can't be done without."""
        self._time.is_patient = True
        try:
            yield
        finally:
            self._time.is_patient = False

    def run_soon(self, handles: list[asyncio.Handle]) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        ready.extend(handles)

    def run_in_executor(self, *work: Any) -> Any:  # type: ignore[override] # typeshed's is generic
        """Do the work now: a thread would end when the machine likes."""
        _executor, do, *arguments = work
        future = self.create_future()
        try:
            future.set_result(do(*arguments))
        except Exception as error:  # noqa: BLE001 - it is the waiter's
            future.set_exception(error)
        return future

    def call_at(self, *call: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override] # ditto
        timer: Any = super().call_at(*call, **options)
        timer.__class__ = _TimerHandle
        return cast("asyncio.TimerHandle", timer)

    def call_soon(self, *call: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override] # ditto
        handle: Any = super().call_soon(*call, **options)
        handle.__class__ = _Handle
        return cast("asyncio.Handle", handle)

    def _kept(self, loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        """A task that is not forgotten while nothing but a stopped process remembers it."""
        task = asyncio.Task(work, loop=loop, **options)
        self._living.add(task)
        task.add_done_callback(self._living.discard)
        return task
