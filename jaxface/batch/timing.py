"""Timings: seconds by stage, seconds of compilation, faces per hour. Host code."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxface.batch.results import OnEvent, Report, ignore_event

LOAD_EVENT = "/jaxface/load_program_duration"
"""Name of the `jax.monitoring` duration of loading a program that an earlier process stored."""
COMPILE_EVENTS = (
    "/jax/core/compile/backend_compile_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/jaxpr_trace_duration",
    LOAD_EVENT,
)

_thread = threading.local()  # per thread, the intervals in which it compiled: (begin, seconds)


@functools.cache
def _listen() -> None:
    """Registers, once, the listener that collects each thread's compilation intervals."""

    def add(event: str, seconds: float, **_: Any) -> None:
        if event not in COMPILE_EVENTS:
            return
        begin = time.monotonic() - seconds
        intervals = _thread.__dict__.setdefault("intervals", [])
        while intervals and intervals[-1][0] >= begin:  # a function traced within this one
            intervals.pop()
        intervals.append((begin, seconds))

    jax.monitoring.register_event_duration_secs_listener(add)  # type: ignore[arg-type]


def compile_seconds() -> float:
    """Returns the seconds that this thread has traced, compiled or loaded programs.

    JAX reports them from the first call on. Nested events (a jitted function traced within another)
    count once.
    """
    _listen()
    return sum(seconds for _, seconds in _thread.__dict__.get("intervals", ()))


class StageTimer:
    """Seconds of the stages of a photo or of a batch of faces, and the events that report them.

    An instance is the `progress` of `reconstruct` and others: called with a stage's name and
    `{"state": "start" | "step" | "end", ...}` in one thread.
    """

    def __init__(
        self,
        on_event: OnEvent = ignore_event,
        *,
        faces: int = 1,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts with no stage.

        Args:
            on_event: takes a `stage` event for each call: the given information with `elapsed`
                (seconds since the stage's start), `faces` and, at a step that says which fraction
                is `done`, `seconds_left`.
            faces: number of faces computed at once, over which `per_face` divides.
            check: called first; raises to stop the run.
        """
        self.on_event, self.faces, self.check = on_event, faces, check
        self.seconds: dict[str, float] = {}
        self._compiled = compile_seconds()
        self._since, self._compiled_before = time.monotonic(), self._compiled
        self._first_step: tuple[float, float] | None = None

    def __call__(self, stage: str, info: dict[str, Any]) -> None:
        """Takes the state of a stage, and what else it reports (`loss`, `done`, `note`)."""
        self.check()
        now = time.monotonic()
        if info["state"] == "start":
            self._since, self._compiled_before = now, compile_seconds()
            self._first_step = None
        elapsed = now - self._since
        if info["state"] == "end":
            self.seconds[stage] = self.seconds.get(stage, 0.0) + elapsed
        event = {"event": "stage", "stage": stage, "elapsed": round(elapsed, 3)}
        event |= {"faces": self.faces} | info
        if info["state"] == "step" and "done" in info:
            left = self._seconds_left(elapsed, info["done"])
            event |= {} if left is None else {"seconds_left": round(left, 1)}
        self.on_event(event)

    def _seconds_left(self, elapsed: float, done: float) -> float | None:
        """Returns an estimate from the pace since the first step, compilation excluded, or None."""
        worked = elapsed - (compile_seconds() - self._compiled_before)
        before, done_before = self._first_step = self._first_step or (worked, done)
        if done <= done_before:
            return None
        return (worked - before) * (1 - done) / (done - done_before)

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Times a block as a stage; what it puts into the yielded dictionary is reported."""
        self(name, {"state": "start"})
        info: dict[str, Any] = {}
        yield info
        self(name, {"state": "end"} | info)

    def per_face(self) -> dict[str, float]:
        """Returns seconds a face: of each stage, their sum (`total`), and of it compiling
        (`compile`), if anything was compiled."""
        timings = self.seconds | {"total": sum(self.seconds.values())}
        compiled = compile_seconds() - self._compiled
        if compiled:
            timings["compile"] = compiled
        return {name: round(seconds / self.faces, 3) for name, seconds in timings.items()}


def add_timings(*parts: dict[str, float]) -> dict[str, float]:
    """Returns the seconds of several timers of a face added up; `total` and `compile` come last.

    Example:
        >>> add_timings({"observe": 2.0, "total": 2.0}, {"export": 1.0, "total": 1.0})
        {'observe': 2.0, 'export': 1.0, 'total': 3.0}
    """
    sums: dict[str, float] = {}
    for part in parts:
        for name, seconds in part.items():
            sums[name] = round(sums.get(name, 0.0) + seconds, 3)
    return sums | {name: sums.pop(name) for name in ("total", "compile") if name in sums}


class Pace:
    """Throughput of a run, faces per hour, and the seconds left at that pace."""

    def __init__(self, photos: int) -> None:
        self.photos, self.faces, self.since = photos, 0, time.monotonic()

    def after(self, report: Report, faces: int) -> dict[str, Any]:
        """Returns the figures after a photo (or a part of the run) of some faces.

        `faces_per_hour` and `seconds_left` are None as long as nothing was computed.
        """
        self.faces += faces
        seconds = max(time.monotonic() - self.since, 1e-3)
        failed, skipped = len(report.failures), len(report.skipped)
        new = report.done + failed
        left = self.photos - new - skipped
        return {
            "done": report.done,
            "failed": failed,
            "skipped": skipped,
            "total": self.photos,
            "faces_per_hour": round(3600 * self.faces / seconds, 1) if self.faces else None,
            "seconds_left": round(seconds * left / new, 1) if new else None,
        }
