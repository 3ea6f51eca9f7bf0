"""A run on a real Ray cluster of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from standin import StandIn, assert_whole, make_photos

from jaxface import AssetError, InputError
from jaxface.batch import run_on_ray
from jaxface.batch.journal import read_entries

ray = pytest.importorskip("ray")
# Ray warns of what it does itself.
pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]
TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two cores to Ray, whatever the machine has."""
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": TESTS, "JAX_PLATFORMS": "cpu"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def _run(tmp_path: Path, photos: list[Path], **settings):
    return run_on_ray(
        photos, tmp_path / "out", partial(StandIn, seconds=0.1), actors=2, cpus=1, **settings
    )


def _done(output: Path) -> list[dict]:
    return [entry for entry in read_entries(output) if entry["event"] == "done"]


def test_a_killed_actor_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    photos, output = make_photos(tmp_path / "photos", 32), tmp_path / "out"
    killed = []

    def kill() -> None:
        """Kills the first actor as soon as it has finished a photo of a block and not all."""
        while not killed:
            time.sleep(0.02)
            if output.exists() and _done(output):
                runs = [entry for entry in read_entries(output) if entry["event"] == "run"]
                os.kill(runs[0]["pid"], signal.SIGKILL)
                killed.append(runs[0]["pid"])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    events: list[dict] = []
    report = _run(tmp_path, photos, batch=2, on_event=events.append)
    killer.join()
    assert report.done == 32 and not report.failures and not report.skipped
    assert_whole(output, StandIn())
    times = Counter(entry["photo"] for entry in _done(output))
    assert set(times) == set(map(str, photos)) and set(times.values()) == {1}
    pids = {entry["pid"] for entry in read_entries(output) if entry["event"] == "run"}
    assert len(pids) >= 3 and killed[0] in pids  # two actors, and one in the place of the dead
    assert events[-1]["done"] == 32 and events[-1]["total"] == 32
    assert not list(output.glob(".*"))


def test_failures_and_what_was_finished_before(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 9)
    bad = photos[4].with_name("bad.jpg")
    photos[4].rename(bad)
    photos[4] = bad
    report = _run(tmp_path, photos)
    assert report.done == 8 and [path for path, _, _ in report.failures] == [bad]
    again = _run(tmp_path, photos, resume=True)
    assert again.done == 0 and len(again.skipped) == 8 and len(again.failures) == 1
    anew = _run(tmp_path, photos)
    assert anew.done == 8 and not anew.skipped and len(anew.rows) == 8


def _no_worker() -> StandIn:
    raise AssetError("There is no database here.")


def test_a_worker_that_cannot_be_made_ends_the_run(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 2)
    with pytest.raises(AssetError, match="no database here"):
        run_on_ray(photos, tmp_path / "out", _no_worker, actors=1, cpus=1)


def test_an_output_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        _run(tmp_path, make_photos(tmp_path / "photos", 3))
