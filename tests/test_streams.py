"""Standard output without a reader, on a full disk, or closed: the command's work is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

COMMAND = """
import os, sys, threading, time
from jaxface.cli import app
from jaxface.cli.progress import Progress

@app.app.command()
def work(place: str) -> None:
    with Progress(many=True, log_json=True) as progress:
        for number in range(3000):
            progress({"event": "stage", "stage": "observe", "number": number})
        progress.print("done")
    with open(place, "w") as stream:
        stream.write(f"{stream.fileno() > 2}")
    if place.endswith("waits"):
        print("waiting", flush=True)
        time.sleep(60)

app.run()
"""


def start(place: Path, shell: str = "{}") -> subprocess.Popen[str]:
    """Starts a command of the command line by a shell, in which `{}` is the command."""
    command = shell.replace("{}", '"$PYTHON" -c "$COMMAND" work "$PLACE"')
    environment = {"PYTHON": sys.executable, "COMMAND": COMMAND, "PLACE": str(place)}
    return subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["{} | head -1", "{} 2>&1 | head -1", "{} >&-", "{} 2>&- <&-"])
def test_a_command_outlives_its_readers(tmp_path: Path, shell: str) -> None:
    process = start(tmp_path / "file", shell)
    _, error = process.communicate()
    assert process.returncode == 0 and error in ("", "done\n"), error[-2000:]
    assert (tmp_path / "file").read_text() == "True"  # its file is no standard stream


@pytest.mark.slow
def test_what_a_full_disk_did_not_take_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    process = start(tmp_path / "file", "{} > /dev/full")
    _, error = process.communicate()
    assert process.returncode == 2
    assert error.splitlines() == [
        "done",
        "jaxface: The output cannot be written: No space left on device.",
    ]
    assert (tmp_path / "file").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does(tmp_path: Path, number: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this signal is ignored here, and so it is by what is started (nohup)")
    process = start(tmp_path / "waits", "exec {}")
    assert process.stdout is not None
    while "waiting" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 130 and error == "done\njaxface: stopped.\n"


@pytest.mark.slow
def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jaxface", "reconstruct", "nowhere.jpg"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "jaxface: There is no file nowhere.jpg; check the path.\n"
