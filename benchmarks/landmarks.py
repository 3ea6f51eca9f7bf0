"""Landmarks beside mediapipe: images a second at batches of 1, 8 and 64.

`python benchmarks/landmarks.py PYTHON`: PYTHON has mediapipe 0.10 (the last with `solutions`). Both
find one face's 478 points in a photo of 512 x 512; ours adds the 52 expressions. mediapipe takes
photos one after the other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from competitor import Other, in_turn, serve

PHOTO = Path(__file__).resolve().parents[1] / "examples" / "photos" / "astronaut.jpg"
BATCHES = (1, 8, 64)


def theirs() -> dict[str, Any]:
    """Returns a call for each batch."""
    import imageio.v3 as imageio
    import mediapipe

    photo = np.ascontiguousarray(np.asarray(imageio.imread(PHOTO))[:512, :512, :3])
    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True)

    def call(batch: int) -> Any:
        def find() -> None:
            for _ in range(batch):
                found = mesh.process(photo).multi_face_landmarks
                assert len(found[0].landmark) == 478

        return find

    return {str(batch): call(batch) for batch in BATCHES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="?")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.serve:
        serve(theirs())
        return
    import jax
    import jax.numpy as jnp

    from jaxface.images import read_photo
    from jaxface.landmarks.detector import detect_padded, pad_photo
    from jaxface.landmarks.networks import load_networks

    networks = load_networks()
    padded, extent = pad_photo(np.asarray(read_photo(PHOTO).srgb)[:512, :512])
    other = Other(given.python, __file__)
    print("| photos | jaxface a second | mediapipe a second | ratio |\n| --- | --- | --- | --- |")
    for batch in BATCHES:
        photos = jnp.broadcast_to(jnp.asarray(padded), (batch, *padded.shape))
        find = jax.jit(
            jax.vmap(lambda photo: detect_padded(photo, jnp.asarray(extent), networks, faces=1))
        )

        def ours(find: Any = find, photos: jax.Array = photos) -> None:
            assert np.isfinite(np.asarray(find(photos).landmarks)).all()

        mine, their = in_turn(ours, lambda batch=batch: other(str(batch)), given.rounds)
        print(
            f"| {batch} | {batch / mine:.1f} | {batch / their:.1f} | {their / mine:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
