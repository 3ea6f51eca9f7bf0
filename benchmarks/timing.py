"""Wall time, compile time and peak memory of `jaxface reconstruct`, as a user meets them.

python benchmarks/timing.py PHOTO [--quality draft standard] [--out FOLDER]

Each quality runs twice, in a fresh process: `first` with an empty cache folder, `again` with the
one that the first run left. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUN = Path(__file__).resolve().parents[1] / "run.py"


def measure(photo: Path, quality: str, output: Path, compiled: Path) -> dict[str, Any]:
    """Returns seconds, compile seconds and peak memory (GB) of one process.

    Raises:
        RuntimeError: the process failed.
    """
    command = [sys.executable, str(RUN), "reconstruct", str(photo)]
    command += ["--output", str(output), "--quality", quality]
    environment = os.environ | {"JAXFACE_CACHE": str(compiled)}
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} failed with status {status}.")
    timings = json.loads((output / "parameters.json").read_text())["timings"]
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    compiling = timings.pop("compile", 0.0)
    return {
        "seconds": seconds,
        "compile": compiling,
        "peak GB": kilobytes / 1024**2,
        "stages": timings,
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--quality", nargs="+", default=["draft", "standard"])
    parser.add_argument("--out", type=Path, help="folder for timing.json")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in args.quality:
            for run in ("first", "again"):
                result = Path(folder) / f"{quality}-{run}"
                found = measure(args.photo, quality, result, Path(folder) / f"cache-{quality}")
                rows.append({"quality": quality, "run": run} | found)
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print("| quality | compilations | seconds | of them compiling | peak memory GB |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['quality']} | {'cold' if row['run'] == 'first' else 'cached'} "
            f"| {row['seconds']:.1f} | {row['compile']:.1f} | {row['peak GB']:.2f} |"
        )
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "timing.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
