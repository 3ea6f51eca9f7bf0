"""Seconds of stages, of compiling, and of a run."""

from __future__ import annotations

import time

import jax
import jax.monitoring
import jax.numpy as jnp
import pytest

from jaxface.batch.results import Report
from jaxface.batch.timing import (
    COMPILE_EVENTS,
    Pace,
    StageTimer,
    add_timings,
    compile_seconds,
)


def test_stages_are_timed_and_reported() -> None:
    events: list[dict] = []
    timer = StageTimer(events.append, faces=2)
    with timer.stage("observe") as info:
        time.sleep(0.02)
        info["note"] = "done"
    timer("refine", {"state": "start"})
    for done in (0.1, 0.2, 0.3):
        time.sleep(0.05)
        timer("refine", {"state": "step", "loss": 1.0, "done": done})
    timer("refine", {"state": "end"})
    assert [(e["stage"], e["state"]) for e in events[:2]] == [
        ("observe", "start"),
        ("observe", "end"),
    ]
    assert events[1]["note"] == "done" and events[1]["faces"] == 2
    assert events[1]["elapsed"] >= 0.02
    steps = [event for event in events if event["state"] == "step"]
    assert "seconds_left" not in steps[0]  # one step alone has no pace
    assert 0.2 < steps[2]["seconds_left"] <= steps[1]["seconds_left"] + 0.1
    timings = timer.per_face()
    assert list(timings)[:3] == ["observe", "refine", "total"]
    assert timings["total"] == pytest.approx(timings["observe"] + timings["refine"], abs=2e-3)
    assert timings["observe"] < events[1]["elapsed"]  # of two faces


def test_a_check_can_stop_a_stage() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        StageTimer(check=stop)("observe", {"state": "start"})


def test_compiling_counts_once_and_in_its_own_thread() -> None:
    before = compile_seconds()
    timer = StageTimer()
    with timer.stage("observe"):
        inner = jax.jit(lambda x: jnp.sin(x) + 0.12345)
        begun = time.monotonic()
        jax.jit(lambda x: inner(x) * inner(x + 1.0))(jnp.ones(3)).block_until_ready()
        whole = time.monotonic() - begun
    compiled = compile_seconds() - before
    assert 0 < compiled <= whole + 1e-3
    assert timer.per_face()["compile"] == pytest.approx(compiled, abs=2e-3)


def test_nested_events_count_once() -> None:
    before = compile_seconds()
    begun = time.monotonic()
    time.sleep(0.02)
    jax.monitoring.record_event_duration_secs(COMPILE_EVENTS[2], 0.01)
    whole = time.monotonic() - begun
    jax.monitoring.record_event_duration_secs(COMPILE_EVENTS[2], whole)
    assert compile_seconds() - before == pytest.approx(whole, abs=1e-6)


def test_timings_add_up() -> None:
    prepared, computed = {"landmarks": 1.0, "total": 1.0}, {"observe": 2.0, "total": 2.0}
    whole = add_timings(prepared, computed | {"compile": 0.5}, {"export": 1.0, "total": 1.0})
    assert whole == {"landmarks": 1.0, "observe": 2.0, "export": 1.0, "total": 4.0, "compile": 0.5}


def test_the_pace_counts_what_was_computed() -> None:
    pace, report = Pace(10), Report()
    report.skipped = [None] * 4  # type: ignore[list-item]
    assert pace.after(report, 0) | {"total": 10} == {
        "done": 0, "failed": 0, "skipped": 4, "total": 10,
        "faces_per_hour": None, "seconds_left": None,
    }  # fmt: skip
    pace.since -= 60.0
    report.done = 2
    figures = pace.after(report, 2)
    assert figures["faces_per_hour"] == pytest.approx(120, rel=0.02)
    assert figures["seconds_left"] == pytest.approx(120, rel=0.02)  # four are left
