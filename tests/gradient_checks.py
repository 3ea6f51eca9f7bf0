"""Derivatives of every stage beside central differences in float64.

`python tests/gradient_checks.py` measures them and writes the table of `docs/gradients.md`;
`test_gradients.py` holds each to its bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import trimesh

from jaxface.blending import blend, mix, project_simplex
from jaxface.rendering.camera import look_at
from jaxface.rendering.lighting import studio
from jaxface.rendering.render import render
from jaxface.types import Correlations, FaceModel

# Most of the time is compilation.
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Check:
    """One row: a scalar function of named arguments, made by `build` under x64."""

    stage: str
    method: str
    build: Callable[[], tuple[Callable[..., jax.Array], dict[str, Any]]]
    step: float = 1e-6


def errors(check: Check) -> dict[str, float]:
    """Returns for each argument the larger relative error of forward and reverse mode."""
    with jax.enable_x64(True):
        function, arguments = check.build()
        names, values = list(arguments), list(arguments.values())
        backward = jax.jit(jax.grad(function, range(len(values))), compiler_options=FAST)
        gradients = backward(*values)
        forward = jax.jit(partial(jax.jvp, function), compiler_options=FAST)
        found = {}
        for place, name in enumerate(names):
            moves = [jax.tree.map(jnp.zeros_like, value) for value in values]
            moves[place] = _direction(values[place], seed=place)

            def moved(size: float, moves=moves) -> jax.Array:
                there = jax.tree.map(lambda a, b: a + size * b, values, moves)
                return forward(there, moves)[0]

            slope = (moved(check.step) - moved(-check.step)) / (2 * check.step)
            products = jax.tree.map(jnp.vdot, gradients[place], moves[place])
            reverse = sum(jax.tree.leaves(products))
            apart = max(abs(float(x - slope)) for x in (forward(values, moves)[1], reverse))
            found[name] = apart / abs(float(slope))
        return found


def _direction(value: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), value)


def doubled(tree: Any) -> Any:
    """Returns the pytree with its floating-point leaves in float64."""

    def double(x: jax.Array) -> jax.Array:
        return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(double, tree)


def two_balls() -> FaceModel:
    """A ball and a smaller one in front of it, the texture projected along z."""
    big = trimesh.creation.icosphere(subdivisions=2, radius=0.1)
    small = trimesh.creation.icosphere(subdivisions=1, radius=0.04)
    small.apply_translation([0.07, 0.03, 0.12])
    mesh = trimesh.util.concatenate([big, small])
    count, triangles = len(mesh.vertices), jnp.array(mesh.faces)
    quads = jnp.zeros((0, 4), jnp.int32)
    return FaceModel(
        mean=jnp.array(mesh.vertices, jnp.float32),
        identity_basis=jnp.zeros((0, count, 3)),
        expression_basis=jnp.zeros((0, count, 3)),
        triangles=triangles,
        quads=quads,
        uvs=jnp.array(mesh.vertices[:, :2] * 4 + 0.5, jnp.float32),
        uv_triangles=triangles,
        uv_quads=quads,
        mirror=jnp.arange(count),
        vertex_region=jnp.zeros(count, jnp.int32),
        landmark_triangles=jnp.zeros(0, jnp.int32),
        landmark_barycentrics=jnp.zeros((0, 3)),
        albedo_mean=jnp.zeros((2, 2, 3)),
        albedo_basis=jnp.zeros((0, 2, 2, 3)),
        region_names=("skin",),
        expression_names=(),
        identity_names=(),
        albedo_names=(),
    )


def _rendering(size: int = 32) -> tuple[Callable[..., jax.Array], dict[str, Any]]:
    """A picture in which 256 x 256 texels are looked up at less than one pixel each."""
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=(size, size, 4)))
    model = doubled(two_balls())

    def total(vertices, camera, texture, lighting):
        picture, coverage = render(
            *(model, vertices, texture, camera, lighting, size, size), smooth=True, specular=0.5
        )
        return jnp.sum(weight * jnp.concatenate([picture, coverage[..., None]], -1))

    arguments = {
        "vertices": model.mean,
        "camera": doubled(look_at(0.3, 0.2, size, size, extent=0.3)),
        "texture": jnp.asarray(rng.uniform(0.2, 0.8, (256, 256, 3))),
        "lighting": doubled(studio()),
    }
    return total, arguments


def _projection() -> tuple[Callable[..., jax.Array], dict[str, Any]]:
    point = jnp.asarray([0.9, 0.4, -1.0, 0.3])
    return lambda x: jnp.vdot(jnp.arange(4.0) ** 2, project_simplex(x)), {"point": point}


def _blend() -> tuple[Callable[..., jax.Array], dict[str, Any]]:
    """Faces whose masked and complete correlations differ, two of them without weight."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(2, 6, 3, 20, 5))
    masked, complete = jnp.asarray(np.einsum("nkrpc,nkrpd->nkrcd", features, features))
    names, support = ("relu1_1",), (jnp.ones((6, 3)),)
    faces = Correlations((masked,), support, names)
    whole = Correlations((complete,), support, names)
    photo = mix(jnp.asarray([0.4, 0.0, 0.3, 0.1, 0.2, 0.0]), faces)

    def total(photo, masked, complete):
        result = blend(photo, faces.replace(values=(masked,)), whole.replace(values=(complete,)))
        total = jnp.vdot(jnp.arange(6.0), result.weights)
        return total + jnp.sum(result.correlations.values[0][:, 0] ** 2)

    return total, {"photo's correlations": photo, "masked": masked, "complete": complete}


ACTIVE = "implicit on the active set"
CHECKS = {
    "projection": Check("`project_simplex`", "exact on the active set", _projection),
    "blend": Check("`blend`", ACTIVE, _blend),
    "render": Check("Renderer", "analytic; silhouettes by edge antialiasing", _rendering, 1e-8),
}


def table() -> str:
    """Returns the rows of the table, measured."""
    rows = []
    for check in CHECKS.values():
        rows += [
            f"| {check.stage} | {name} | {check.method} | {error:.0e} |"
            for name, error in errors(check).items()
        ]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
