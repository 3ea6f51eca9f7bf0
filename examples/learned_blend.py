"""Which layers and cells predict best what a photo hides? Learnt through the simplex solve.

Every database face in turn is the truth, seen as far as a turned head shows it. Faces of other
families are blended as `blend` does, each layer and cell counting by a weight, and the weights are
learnt, through `solve_simplex`, from the error on the texels that are not seen. A fifth of the
families is held out at a time. `blend(..., cell_weights=...)` takes what is learnt.

`python examples/learned_blend.py [STEPS]` prints the errors of the held-out families and writes
`out/learned_blend.png`, the learnt weights of each layer over the UV square.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxface
from jaxface.blending import solve_simplex
from jaxface.database import face_names
from jaxface.evaluation.sources import family
from jaxface.evaluation.truth import face_texels
from jaxface.features.correlations import cell_scales
from jaxface.images import write_png
from jaxface.unwrapping.visible import project_texels

LAYERS = jaxface.CorrelationConfig().layers
RIDGE, DECAY, FOLDS = 1e-3, 1e-3, 5  # of `blend`; of the logarithms of the weights


def masks(size: int, yaw: float) -> tuple[jax.Array, jax.Array]:
    """Returns the face's texels that a head turned by `yaw` degrees shows, and those it hides."""
    model = jaxface.load_model()
    texels = jaxface.texel_map(model, size)
    camera = jaxface.look_at(np.radians(yaw), 0.0, 512, 512)
    view = project_texels(model.mean, camera, model, texels, window=512, tolerance=2e-3)
    face = jnp.asarray(face_texels(model, texels))
    seen = view.unoccluded & (view.facing > 0.3)
    return (face & seen).astype(float), (face & ~seen).astype(float)


@partial(jax.jit, static_argnames="layer")
def products(textures: jax.Array, mask: jax.Array, vgg: dict, layer: str) -> tuple:
    """Returns the scalar products of all faces' correlations, `[R, K, K]`, and the support, `[R]`:
    all that the solve and its error depend on."""
    config = jaxface.CorrelationConfig(layers=(layer,))

    def one(texture: jax.Array) -> tuple:
        found = jaxface.correlate(texture / 255.0, mask, vgg, config)
        return found.values[0].reshape(len(found.values[0]), -1), found.support[0]

    flat, support = jax.lax.map(one, textures)
    return jnp.einsum("jrc,krc->rjk", flat, flat), support[0]


def apart(products: jax.Array, support: tuple, truth: jax.Array, others: jax.Array) -> jax.Array:
    """Returns the products of the others' differences from the truth, by layer and cell, scaled as
    `blend` does: `[L, R, N, N]`."""
    energy = tuple(jnp.sqrt(layer[:, truth, truth])[:, None, None] for layer in products)
    scales = cell_scales(jaxface.Correlations(energy, support, LAYERS))
    cross = products[:, :, truth, others]
    among = products[:, :, others[:, None], others]
    own = products[:, :, truth, truth, None, None]
    found = among - cross[..., None, :] - cross[..., :, None] + own
    return jnp.stack(scales)[..., None, None] * found


def blended(cells: jax.Array, seen: jax.Array) -> jax.Array:
    """Returns the simplex weights for what is seen; `cells` are logarithms of weights, `[L, R]`."""
    quadratic = jnp.einsum("lr,lrjk->jk", jnp.exp(cells), seen)
    quadratic /= jnp.mean(jnp.diagonal(quadratic)) + 1e-20
    count = len(quadratic)
    return solve_simplex(quadratic + RIDGE * jnp.eye(count), jnp.zeros(count))[0]


def error(weights: jax.Array, hidden: jax.Array) -> jax.Array:
    """Returns the relative squared error of blended correlations, mean over layers and cells."""
    return jnp.einsum("lrjk,j,k->", hidden, weights, weights) / len(hidden)


@jax.jit
def errors(cells: jax.Array, seen: jax.Array, hidden: jax.Array) -> jax.Array:
    return jax.vmap(lambda s, h: error(blended(cells, s), h))(seen, hidden)


@partial(jax.jit, static_argnames="count")
def problems(seen: tuple, hidden: tuple, allowed: jax.Array, count: int) -> tuple:
    """Returns of each face as the truth what `apart` says of the `count` allowed faces that are
    nearest in what is seen: seen and hidden, `[K, L, R, count, count]`."""

    def one(truth: jax.Array) -> tuple:
        every = apart(*seen, truth, jnp.arange(len(allowed)))
        distance = jnp.where(allowed[truth], jnp.einsum("lrjj->j", every), jnp.inf)
        others = jax.lax.top_k(-distance, count)[1]
        return every[..., others[:, None], others], apart(*hidden, truth, others)

    return jax.lax.map(one, jnp.arange(len(allowed)))


@partial(jax.jit, static_argnames="steps")
def learn(seen: jax.Array, hidden: jax.Array, counts: jax.Array, steps: int) -> jax.Array:
    """Returns the logarithms of weights that make the blend of the hidden best, where the faces
    count by `counts`."""
    optimizer = optax.adam(0.05)

    def loss(cells: jax.Array) -> jax.Array:
        return counts @ errors(cells, seen, hidden) / counts.sum() + DECAY * jnp.mean(cells**2)

    def step(_: int, both: tuple) -> tuple:
        change, state = optimizer.update(jax.grad(loss)(both[0]), both[1])
        return optax.apply_updates(both[0], change), state

    start = jnp.zeros(seen.shape[1:3])
    return jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0]


def main(steps: int = 150, size: int = 128, yaw: float = 60.0, shortlist: int = 30,
         faces: int | None = None, out: Path = Path("out")) -> dict[str, float]:  # fmt: skip
    """Returns the errors of the hidden correlations: means over the faces while they are held out,
    and of the faces that were learnt from."""
    database, vgg = jaxface.load_database(size=size), jaxface.load_vgg()
    textures = database.textures[:faces]
    families = np.array([family(name) for name in face_names()[:faces]])
    both = []
    for mask in masks(size, yaw):
        found = [products(textures, mask, vgg, layer) for layer in LAYERS]
        both.append((jnp.stack([a for a, _ in found]), tuple(b for _, b in found)))
    strangers = families[:, None] != families
    held = problems(*both, strangers, shortlist)
    plain, count = jnp.zeros(held[0].shape[1:3]), held[0].shape[-1]
    equal = jax.vmap(lambda h: error(jnp.full(count, 1 / count), h))(held[1])
    best = jax.vmap(lambda h: error(blended(plain, h), h))(held[1])
    before, after, cells, learnt = errors(plain, *held), [], [], []
    names = np.random.default_rng(0).permutation(np.unique(families))
    for fold in np.array_split(names, FOLDS):
        test = np.isin(families, fold)
        train = problems(*both, strangers & ~test, shortlist)
        cells.append(learn(*train, jnp.asarray(~test, jnp.float32), steps))
        after.append(jnp.where(test, errors(cells[-1], *held), 0.0))
        learnt.append([errors(x, *train)[~test].mean() for x in (plain, cells[-1])])
    after = sum(after)
    result = {
        "equal weights": equal.mean(), "blend": before.mean(), "learnt": after.mean(),
        "best possible": best.mean(), "fraction of faces better": (after < before).mean(),
        "learnt from, blend": np.mean(learnt, 0)[0], "learnt from, learnt": np.mean(learnt, 0)[1],
    }  # fmt: skip
    result = {name: float(value) for name, value in result.items()}
    for name, value in result.items():
        print(f"{name:22}{value:.4f}")
    draw(sum(cells) / FOLDS, textures.mean(0) / 255.0, out)
    return result


def draw(cells: jax.Array, face: jax.Array, out: Path) -> None:
    """Writes the average face for each layer, red where cells count more, blue where less."""
    for layer, weight in zip(LAYERS, jnp.exp(cells.mean(1)), strict=True):
        print(f"weight of {layer:12}{weight:.4f}")
    side, size = round(cells.shape[1] ** 0.5), len(face)
    spread = jnp.max(jnp.abs(cells))
    tiles = []
    for layer in cells.reshape(-1, side, side):
        amount = jax.image.resize(layer / spread, (size, size), "linear")[..., None]
        colour = jnp.where(amount > 0, jnp.array([0.9, 0.15, 0.1]), jnp.array([0.1, 0.3, 0.9]))
        opacity = 0.8 * jnp.abs(amount)
        tiles.append((1 - opacity) * face.mean(-1, keepdims=True) + opacity * colour)
    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "learned_blend.png", jnp.concatenate(tiles, 1))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
