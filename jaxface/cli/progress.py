"""What the command line says while it works: a line a stage, losses, time left, a summary."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import jax
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxface.batch import Report
from jaxface.programs import LOAD_EVENT

TABLE_ROWS = 40  # a longer summary is its last line alone
COMPILE_EVENTS = (
    "/jax/core/compile/backend_compile_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/jaxpr_trace_duration",
    LOAD_EVENT,
)


class CompileClock:
    """Seconds that tracing, compiling and loading programs have taken since the start."""

    def __init__(self) -> None:
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._listen)  # type: ignore[arg-type]

    def _listen(self, event: str, seconds: float, **_: Any) -> None:
        if event in COMPILE_EVENTS:
            self.seconds += seconds


class Reporter:
    """Follows the stages of one photo; call it as the pipeline's `progress`."""

    def __init__(self, console: Console, clock: CompileClock, *, log_json: bool) -> None:
        self.console, self.clock, self.log_json = console, clock, log_json
        self.begun = time.monotonic()
        self.compiled = clock.seconds
        self.stages: dict[str, float] = {}
        self.losses: dict[str, list[float]] = {}
        self._since = 0.0
        self._first: tuple[float, float] | None = None

    def __call__(self, stage: str, info: dict[str, Any]) -> None:
        """Takes `state` (`start`, `step` or `end`) and what the stage tells (`loss`, `done`)."""
        now = time.monotonic()
        if info["state"] == "start":
            self._since, self._first = now, None
        if "loss" in info:
            self.losses.setdefault(stage, []).append(float(info["loss"]))
        elapsed = now - self._since
        if info["state"] == "end":
            self.stages[stage] = round(elapsed, 3)
        if self.log_json:
            print(json.dumps({"stage": stage, "elapsed": round(elapsed, 3)} | info), flush=True)
        elif info["state"] != "start":
            self._line(stage, info, elapsed)

    def _line(self, stage: str, info: dict[str, Any], elapsed: float) -> None:
        text = f"  {stage:<11} {elapsed:6.1f} s"
        if "loss" in info:
            text += f"   loss {info['loss']:.4g}"
        done = info.get("done", 0.0)
        if info["state"] == "step":
            # Not from the start: what is compiled and prepared once would count for every step.
            worked = elapsed - (self.clock.seconds - self.compiled)
            before, then = self._first = self._first or (worked, done)
            if done > then:
                text += f"   {(worked - before) * (1 - done) / (done - then):.0f} s left"
        if info.get("note"):
            text += f"   {info['note']}"
        last = "\n" if info["state"] == "end" or not self.console.is_terminal else "\r"
        self.console.print(text.ljust(72), end=last, highlight=False, markup=False)

    def timings(self) -> dict[str, float]:
        """Returns seconds by stage, in all (`total`), and what of it was compiling (`compile`)."""
        return self.stages | {
            "total": round(time.monotonic() - self.begun, 3),
            "compile": round(self.clock.seconds - self.compiled, 3),
        }


def summary(console: Console, rows: list[dict[str, Any]]) -> None:
    """Prints a table with one row a face."""
    table = Table(title="Summary", title_justify="left")
    columns = ("photo", "result", "landmarks %", "seen %", "seconds", "compile", "folder")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    console.print(table)


class RunReporter:
    """Follows a run over many photos; call it with the run's events, from any thread.

    On a terminal a live line for each stage and one for the run; elsewhere a plain line for each
    photo; with `log_json` every event as a line of JSON on stdout.
    """

    def __init__(self, console: Console, *, log_json: bool) -> None:
        self.console, self.log_json = console, log_json
        self.stages: dict[str, str] = {}
        self.last = "starting"
        self.lock = threading.Lock()
        self.live = Live(console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> RunReporter:
        if self.console.is_terminal and not self.log_json:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live.is_started:
            self.live.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes an event: `stage` or `photo`; see `FaceWorker` and `run_photos`."""
        with self.lock:
            if self.log_json:
                print(json.dumps(event), flush=True)
            elif event["event"] == "photo":
                self._photo(event)
            else:
                self._stage(event)
            if self.live.is_started:
                self.live.update(Text("\n".join([*self.stages.values(), self.last])))

    def _stage(self, event: dict[str, Any]) -> None:
        text = f"  {event['stage']:<11} {event['elapsed']:6.1f} s   {event['faces']} face(s)"
        if "loss" in event:
            text += f"   loss {event['loss']:.4g}"
        if "done" in event:
            text += f"   {100 * event['done']:.0f} %"
        self.stages[event["stage"]] = text

    def _photo(self, event: dict[str, Any]) -> None:
        counted = event["done"] + event["failed"] + event["skipped"]
        self.last = f"[{counted}/{event['total']}]"
        if event["faces_per_hour"]:
            self.last += f" {event['faces_per_hour']:.0f} faces/h"
        if event["seconds_left"] is not None:
            self.last += f", {_duration(event['seconds_left'])} left"
        if event["failed"]:
            self.last += f", {event['failed']} failed"
        what = event.get("reason") or event.get("folder") or "finished before"
        line = f"{event['photo']}: {what}"
        if not self.console.is_terminal:
            line = f"{self.last}  {line}"
        elif event["result"] == "skipped":
            return
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finish(self, report: Report) -> None:
        """Prints what became of the run: its faces, and the failures with their reasons."""
        failures = [
            {"photo": str(path), "reason": reason, "exit_code": code}
            for path, reason, code in report.failures
        ]
        figures = {"done": report.done, "faces": len(report.rows), "skipped": len(report.skipped)}
        if self.log_json:
            print(json.dumps({"event": "end"} | figures | {"failures": failures}), flush=True)
            return
        if 0 < len(report.rows) <= TABLE_ROWS:
            summary(self.console, report.rows)
        lines = [
            f"{report.done} photo(s) done, {len(report.skipped)} finished before, "
            f"{len(failures)} failed."
        ]
        lines += [f"  {failure['photo']}: {failure['reason']}" for failure in failures]
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
