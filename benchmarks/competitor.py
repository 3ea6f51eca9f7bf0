"""Ours and a competitor's in turn, the latter by another Python that has it installed."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(calls: dict[str, Callable[[], Any]]) -> None:
    """Answers each line of standard input, a case's name, with the seconds of one call of it."""
    for line in sys.stdin:
        begin = time.perf_counter()
        calls[line.strip()]()
        print(time.perf_counter() - begin, flush=True)


class Other:
    """The same script in another Python, started with `--serve`."""

    def __init__(self, python: str, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [python, script, "--serve", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, case: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def in_turn(
    ours: Callable[[], Any], other: Callable[[], float], rounds: int
) -> tuple[float, float]:
    """Returns the median seconds of both; a first call of each, which compiles, does not count."""
    times: list[tuple[float, float]] = []
    for _ in range(1 + rounds):
        begin = time.perf_counter()
        ours()
        times.append((time.perf_counter() - begin, other()))
    mine, their = map(statistics.median, zip(*times[1:], strict=True))
    return mine, their
