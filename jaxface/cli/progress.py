"""What the command line says while it works: a line a stage, losses, time left, a summary."""

from __future__ import annotations

import json
import time
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

COMPILE_EVENTS = (
    "/jax/core/compile/backend_compile_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/jaxpr_trace_duration",
)


class CompileClock:
    """Seconds that JAX has spent on tracing and compiling since the start."""

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

    def __call__(self, stage: str, info: dict[str, Any]) -> None:
        """Takes `state` (`start`, `step` or `end`) and what the stage tells (`loss`, `done`)."""
        now = time.monotonic()
        if info["state"] == "start":
            self._since = now
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
        if info["state"] == "step" and done > 0:
            text += f"   {elapsed * (1 - done) / done:.0f} s left"
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
