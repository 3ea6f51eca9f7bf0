"""Progress on the terminal: a line per stage or photo, losses, time left, a summary."""

from __future__ import annotations

import json
import threading
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxface.batch import Report
from jaxface.names import decodable, printable

TABLE_ROWS = 40  # of the summary; for more faces only their number is printed
COLUMNS = ("photo", "result", "landmarks %", "seen %", "seconds", "compile", "folder")


class Progress:
    """Prints the events of a run; call it with them, from any thread. A context manager.

    One line per finished stage of one photo (`many` false), or one per photo of a run; on a
    terminal a live display below has a line for each stage and one for the run. With `log_json`
    every event is a line of JSON on stdout, and nothing else is printed there.
    """

    def __init__(self, *, many: bool = False, log_json: bool = False) -> None:
        self.console = Console(stderr=log_json)
        self.many, self.log_json = many, log_json
        self._stages: dict[str, str] = {}
        self._run_line = "starting"
        self._lock = threading.Lock()
        self._live = Live(console=self.console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Progress:
        if self.many and self.console.is_terminal and not self.log_json:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def print(self, text: str) -> None:
        """Prints a text as one line on stdout, or with `log_json` on stderr."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes a `stage` event (`StageTimer`) or a `photo` event (`run_photos`)."""
        with self._lock:
            if self.log_json:
                print(json.dumps(event), flush=True)
            elif event["event"] == "photo":
                self._photo(event)
            elif self.many:
                self._stages[event["stage"]] = _stage_line(event)
            elif event["state"] != "start":
                overwrite = event["state"] == "step" and self.console.is_terminal
                line = _stage_line(event).ljust(72)
                end = "\r" if overwrite else "\n"
                self.console.print(line, end=end, markup=False, highlight=False)
            if self._live.is_started:
                self._live.update(Text("\n".join([*self._stages.values(), self._run_line])))

    def _photo(self, event: dict[str, Any]) -> None:
        """Prints a `photo` event, and updates the line of the run."""
        finished = event["done"] + event["failed"] + event["skipped"]
        self._run_line = f"[{finished}/{event['total']}]"
        if event["faces_per_hour"]:
            self._run_line += f" {event['faces_per_hour']:.0f} faces/h"
        if event["seconds_left"] is not None:
            self._run_line += f", {_duration(event['seconds_left'])} left"
        if event["failed"]:
            self._run_line += f", {event['failed']} failed"
        outcome = event.get("reason") or event.get("folder") or "finished before"
        line = f"{event['photo']}: {outcome}"
        if not self.console.is_terminal:
            line = f"{self._run_line}  {line}"
        elif event["result"] == "skipped":
            return
        self.print(line)

    def finish(self, report: Report) -> None:
        """Prints the summary: a table of the faces and, of a run, the failures with reasons."""
        failures = [
            {"photo": decodable(str(path)), "reason": reason, "exit_code": code}
            for path, reason, code in report.failures
        ]
        figures = {"done": report.done, "faces": len(report.rows), "skipped": len(report.skipped)}
        if self.log_json:
            print(json.dumps({"event": "end"} | figures | {"failures": failures}), flush=True)
            return
        if 0 < len(report.rows) <= TABLE_ROWS:
            table = Table(title="Summary", title_justify="left")
            for column in COLUMNS:
                table.add_column(column)
            for row in report.rows:
                table.add_row(*(Text(printable(str(row.get(column, "")))) for column in COLUMNS))
            self.console.print(table)
        if self.many:
            self.print(
                f"{report.done} photo(s) done, {len(report.skipped)} finished before, "
                f"{len(failures)} failed."
            )
        for failure in failures:
            self.print(f"  {failure['photo']}: {failure['reason']}")


def _stage_line(event: dict[str, Any]) -> str:
    """Returns the line of a `stage` event."""
    text = f"  {event['stage']:<11} {event['elapsed']:6.1f} s"
    if event["faces"] > 1:
        text += f"   {event['faces']} faces"
    if "loss" in event:
        text += f"   loss {event['loss']:.4g}"
    if "done" in event:
        text += f"   {100 * event['done']:.0f} %"
    if "seconds_left" in event:
        text += f", {_duration(event['seconds_left'])} left"
    if event.get("note"):
        text += f"   {event['note']}"
    return text


def _duration(seconds: float) -> str:
    """Returns seconds in s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
