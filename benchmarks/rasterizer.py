"""The rasterizer beside jaxrenderer's on the face model: the nearest surface of every pixel.

`python benchmarks/rasterizer.py PYTHON`: PYTHON has jaxrenderer (0.3.2 wants jax below 0.5).
Prints a row for each size, medians of calls taken in turn after both have compiled. jaxrenderer
draws depth alone; ours also barycentrics and the triangle.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from competitor import Other, in_turn, serve

SIZES = (128, 256)
EYE = (0.3, 0.1, 0.9)  # metres from the head's middle


def theirs(mesh: Path) -> dict[str, Any]:
    """Returns a call for each size."""
    from renderer import Camera, CameraParameters, Renderer
    from renderer.pipeline import render
    from renderer.shaders.depth import DepthExtraInput, DepthShader
    from renderer.types import Buffers

    with np.load(mesh) as data:
        vertices, triangles = jnp.asarray(data["vertices"]), jnp.asarray(data["triangles"])

    def call(size: int) -> Any:
        camera: Camera = Renderer.create_camera_from_parameters(
            CameraParameters(
                viewWidth=size, viewHeight=size, near=0.1, far=10.0, hfov=25.0, vfov=25.0,
                position=jnp.array(EYE), target=jnp.zeros(3), up=jnp.array([0.0, 1.0, 0.0]),
            )
        )  # fmt: skip
        draw = jax.jit(
            lambda v: render(
                camera, DepthShader, Buffers(jnp.full((size, size), 1.0), ()), triangles,
                DepthExtraInput(v),
            ).zbuffer
        )  # fmt: skip

        def draws() -> None:
            depth = np.asarray(draw(vertices))
            assert 0.1 < (depth < 1).mean() < 0.9

        return draws

    return {str(size): call(size) for size in SIZES}


def ours(vertices: np.ndarray, triangles: np.ndarray, size: int) -> Any:
    """Returns a call: the same view."""
    from jaxface.rendering.rasterize import rasterize

    forward = -np.asarray(EYE) / np.linalg.norm(EYE)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    view = jnp.asarray(np.stack([right, -np.cross(right, forward), forward]), jnp.float32)
    scale = size / 2 / np.tan(np.radians(12.5))
    points, corners = jnp.asarray(vertices), jnp.asarray(triangles)

    @jax.jit
    def draw(points: jax.Array) -> jax.Array:
        turned = (points - jnp.array(EYE)) @ view.T
        xy = scale * turned[:, :2] / turned[:, 2:] + size / 2
        return rasterize(xy, turned[:, 2], corners, size, size)[0]

    def draws() -> None:
        assert 0.1 < (np.asarray(draw(points))[..., 3] > 0).mean() < 0.9

    return draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="?")
    parser.add_argument("--serve", type=Path, metavar="MESH", help="answer for jaxrenderer")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if given.serve:
        serve(theirs(given.serve))
        return
    from jaxface.morphable.files import load_model

    model = load_model()
    vertices, triangles = np.asarray(model.mean), np.asarray(model.triangles)
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder) / "mesh.npz"
        np.savez(mesh, vertices=vertices, triangles=triangles)
        other = Other(given.python, __file__, str(mesh))
        print(f"{len(vertices)} vertices, {len(triangles)} triangles")
        print("| pixels | jaxface ms | jaxrenderer ms | ratio |\n| --- | --- | --- | --- |")
        for size in SIZES:
            draw = ours(vertices, triangles, size)
            mine, their = in_turn(draw, lambda size=size: other(str(size)), given.rounds)
            print(
                f"| {size} | {1e3 * mine:.1f} | {1e3 * their:.1f} | {their / mine:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
