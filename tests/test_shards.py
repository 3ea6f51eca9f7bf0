"""Several processes do the shards of a run and find what any of them has finished."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from standin import StandIn, assert_whole, make_photos

from jaxface import InputError
from jaxface.batch import Journal, Shard, run_photos
from jaxface.batch.journal import read_entries
from jaxface.cli.work import parse_shard
from jaxface.export import PREFIX


def test_what_a_shard_is() -> None:
    assert parse_shard("2/8") == Shard(1, 8)
    parts = [Shard(index, 3).of(range(10)) for index in range(3)]
    assert (
        sorted(x for part in parts for x in part) == list(range(10)) and max(map(len, parts)) == 4
    )
    for text in ("0/2", "3/2", "1", "a/b", "1/0"):
        with pytest.raises(InputError):
            parse_shard(text)


def test_shards_do_all_once_and_resume_in_any_number(tmp_path: Path) -> None:
    photos, output = make_photos(tmp_path / "photos", 7), tmp_path / "out"
    done = [run_photos(photos, output, StandIn(), shard=Shard(i, 2)).done for i in (1, 0)]
    assert done == [3, 4]
    assert_whole(output, StandIn())
    assert sum(entry["event"] == "done" for entry in read_entries(output)) == 7
    for shard in (Shard(), Shard(0, 3), Shard(0, 2)):
        report = run_photos(photos, output, StandIn(), shard=shard, resume=True)
        assert report.done == 0 and len(report.skipped) == len(shard.of(photos))


def test_shards_stand_beside_each_other_but_not_beside_the_whole(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}b-01234567").mkdir()
    (tmp_path / f"{PREFIX}a-01234567").mkdir()
    with Journal(tmp_path, Shard(0, 2), ["a"]):
        assert [file.name for file in tmp_path.glob(f"{PREFIX}*")] == [f"{PREFIX}b-01234567"]
        with Journal(tmp_path, Shard(1, 2), ["b"]):
            assert not list(tmp_path.glob(f"{PREFIX}*"))
        for shard in (Shard(), Shard(0, 2)):
            with pytest.raises(InputError, match=f"process {os.getpid()} on .* writing"):
                Journal(tmp_path, shard)
    with Journal(tmp_path), pytest.raises(InputError, match="writing"):
        Journal(tmp_path, Shard(1, 2))


SCRIPT = """
import sys
from pathlib import Path
import jax, numpy as np
from jaxface.batch import run_photos
from jaxface.cli.work import parse_shard
from jaxface.reconstruct import _map_over_faces, device_mesh
from standin import StandIn
shard = parse_shard("auto")
assert jax.process_count() == 2 and len(jax.devices()) == 2 and len(device_mesh().devices) == 1
one_more = _map_over_faces(lambda x: x + 1, (0,), device_mesh())
assert one_more(np.arange(1.0))[0] == 1  # its own devices alone
photos, output = sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2])
print(shard.index, run_photos(photos, output, StandIn(seconds=0.01), shard=shard).done)
"""


def test_two_processes_of_a_cluster(tmp_path: Path) -> None:
    """SLURM's environment, as JAX reads it, with both tasks on this machine."""
    photos, output = make_photos(tmp_path / "photos", 9), tmp_path / "out"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slurm = {
        "SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2",
        "JAX_COORDINATOR_PORT": str(port), "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }  # fmt: skip
    base = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and k != "XLA_FLAGS"}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, photos[0].parent, output],
            env=base | slurm | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    ends = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], ends
    assert [out.split() for out, _ in ends] == [["0", "5"], ["1", "4"]]
    assert_whole(output, StandIn())
