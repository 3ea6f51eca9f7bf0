"""Bundles what the viewer needs of three.js: `python -m building.viewer_library FOLDER`.

FOLDER holds `node_modules` with npm `three` 0.187.0 and `esbuild`. Writes `pretrained/three.js`,
which defines the global THREE. Deterministic for the same versions.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from jaxface import assets

_ENTRY = """\
export {
  AmbientLight, Color, DirectionalLight, Group, MathUtils, PerspectiveCamera, Scene,
  SRGBColorSpace, Texture, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
export { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";
"""


def build(folder: Path, output: Path) -> None:
    """Writes the bundle. Raises `CalledProcessError` if esbuild fails."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        entry = Path(work) / "entry.js"
        entry.write_text(_ENTRY)
        command = [str(folder / "node_modules/.bin/esbuild"), str(entry), "--bundle", "--minify"]
        command += ["--format=iife", "--global-name=THREE", "--legal-comments=inline"]
        subprocess.run([*command, "--charset=ascii", f"--outfile={output}"], check=True)
    if "</script" in output.read_text():
        raise ValueError("the bundle would end the script element that holds it")


def main() -> None:
    """Command line: the folder with `node_modules`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder, assets.folder() / "three.js")


if __name__ == "__main__":
    main()
