"""An encoder that reads a face's parameters off a picture, taught by the renderer alone.

Trained self-supervised as MoFA (Tewari et al., ICCV 2017), on pictures of random faces: the loss is
the picture beside its own re-rendering, plus the prior N(0, 1). It sees no parameter and no
landmark. Then, on faces that it has not seen, beside gradient descent on the same loss, which
starts from the mean face or from the encoder's output.

`python examples/encoder.py [STEPS]` prints the errors and writes `out/encoder.png`: held-out faces,
the encoder's, gradient descent's.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

import jaxface
from jaxface.images import write_png
from jaxface.rendering.camera import rotation_matrix

EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "browInnerUp")
PARTS = {"pose": 5, "identity": 20, "expression": len(EXPRESSIONS), "albedo": 8, "light": 9}
BATCH, PRIOR, TEXTURE = 16, 1e-3, 64
SPREAD = jnp.array([0.6] + [0.4] * 3 + [0.15] * 5)  # of the light's harmonics


class Encoder(nn.Module):
    """A picture to the face's unknowns, all of them N(0, 1) over the pictures."""

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        x = 4 * (pictures - 0.5)
        for channels in (32, 64, 96, 128):
            x = nn.relu(nn.Conv(channels, (3, 3), strides=2)(x))
        x = nn.relu(nn.Dense(256)(x.reshape(len(x), -1)))
        return nn.Dense(sum(PARTS.values()), kernel_init=nn.initializers.zeros)(x)


def face(model: jaxface.FaceModel, unknown: jax.Array, size: int) -> tuple:
    """Returns vertices (metres), albedo, camera and light of unknowns."""
    ends = [sum(list(PARTS.values())[:n]) for n in range(1, len(PARTS))]
    pose, identity, expression, albedo, light = jnp.split(unknown, ends)
    vertices = model.mean + jnp.tensordot(identity, model.identity_basis[: len(identity)], 1)
    moved = model.expression_basis[jnp.array([*map(model.expression_names.index, EXPRESSIONS)])]
    vertices += jnp.tensordot(jax.nn.sigmoid(2 * expression - 2), moved, 1)
    camera = jaxface.look_at(0.3 * pose[0], 0.15 * pose[1], size, size, extent=0.32)
    shift = jnp.append(0.01 * pose[2:4], 0.05 * pose[4])
    camera = camera.replace(translation=camera.translation + shift)
    every = jnp.zeros(len(model.albedo_basis)).at[: len(albedo)].set(albedo)
    even = jaxface.uniform(0.8).coefficients
    lamp = jaxface.Lighting(even + (SPREAD * light)[:, None])
    return vertices, jaxface.albedo_texture(model, every, TEXTURE), camera, lamp


def picture(model: jaxface.FaceModel, unknown: jax.Array, size: int, **options) -> jax.Array:
    linear, _ = jaxface.render(
        model, *face(model, unknown, size), size, size, background=0.2, **options
    )
    return jaxface.linear_to_srgb(jnp.clip(linear, 1e-4, 1.0))


@partial(jax.jit, static_argnames="size")
def compare(model: jaxface.FaceModel, unknowns: jax.Array, pictures: jax.Array, size: int) -> tuple:
    """Returns re-renderings, photometric errors, and the loss's slopes; all that is compiled of the
    renderer."""

    def one(unknown: jax.Array, target: jax.Array) -> tuple:
        own = picture(model, unknown, size, smooth=True)
        error = jnp.mean(jnp.abs(own - target))
        return error + PRIOR * jnp.mean(unknown**2), (own, error)

    slopes, (own, errors) = jax.vmap(jax.grad(one, has_aux=True))(unknowns, pictures)
    return own, errors, slopes


@partial(jax.jit, static_argnames="size")
def errors_of(model: jaxface.FaceModel, found: jax.Array, truth: jax.Array, size: int) -> jax.Array:
    """Returns the mean distance of the face's vertices, mm, and the angle of the pose, degrees."""
    front = model.mean[:, 2] > -0.06

    def one(found: jax.Array, truth: jax.Array) -> jax.Array:
        (own, _, camera, _), (true, _, other, _) = (face(model, x, size) for x in (found, truth))
        apart = jnp.linalg.norm(own - true, axis=1) @ front / front.sum()
        between = rotation_matrix(camera.rotation) * rotation_matrix(other.rotation)
        turn = jnp.arccos(jnp.clip((between.sum() - 1) / 2, -1.0, 1.0))
        return jnp.array([1000 * apart, jnp.degrees(turn)])

    return jax.vmap(one)(found, truth).mean(0)


def descend(model: jaxface.FaceModel, start: jax.Array, truth: jax.Array, pictures: jax.Array,
            steps: int) -> tuple[jax.Array, list]:  # fmt: skip
    """Returns unknowns after gradient descent, and after each step: photometric, mm, degrees."""
    optimizer, size = optax.adam(0.05), pictures.shape[1]
    unknown, state, rows = start, optimizer.init(start), []
    for _ in range(steps + 1):
        _, photometric, slopes = compare(model, unknown, pictures, size)
        rows.append([float(photometric.mean()), *errors_of(model, unknown, truth, size).tolist()])
        change, state = optimizer.update(slopes, state)
        last, unknown = unknown, optax.apply_updates(unknown, change)
    return last, rows


def main(steps: int = 800, descent: int = 100, faces: int = 512, size: int = 32,
         out: Path = Path("out")) -> tuple[list, list, int]:  # fmt: skip
    """Returns the errors of each step of the descent from the mean face and from the encoder, and
    the step at which the first has the photometric error that the encoder gives without any."""
    model, keys = jaxface.load_model(), jax.random.split(jax.random.key(0), 3)
    everybody = jax.random.normal(keys[0], (faces + BATCH, sum(PARTS.values())))
    blank = jnp.zeros((BATCH, size, size, 3))
    shown = jnp.concatenate([
        compare(model, everybody[i : i + BATCH], blank, size)[0] for i in range(0, faces + 1, BATCH)
    ])  # fmt: skip
    (held, truth), shown = (shown[faces:], everybody[faces:]), shown[:faces]

    encoder = Encoder()
    weights = encoder.init(keys[1], blank)
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    state, encode, spread = optimizer.init(weights), jax.jit(encoder.apply), 1e-9

    @jax.jit
    def learn(weights: dict, state: tuple, seen: jax.Array, slopes: jax.Array) -> tuple:
        back = jax.vjp(lambda weights: encoder.apply(weights, seen), weights)[1]
        change, state = optimizer.update(back(slopes)[0], state)
        return optax.apply_updates(weights, change), state

    for step in range(steps):
        seen = shown[jax.random.choice(jax.random.fold_in(keys[2], step), faces, (BATCH,))]
        _, photometric, slopes = compare(model, encode(weights, seen), seen, size)
        # Each unknown's slopes in units of their usual size.
        spread = 0.95 * spread + 0.05 * jnp.mean(slopes**2, 0)
        weights, state = learn(weights, state, seen, slopes / jnp.sqrt(spread))
        if step % 50 == 0:
            print(f"step {step:4}: {float(photometric.mean()):.4f}", flush=True)

    encoded = encode(weights, held)
    mean, from_mean = descend(model, jnp.zeros_like(truth), truth, held, descent)
    _, from_encoder = descend(model, encoded, truth, held, descent)
    for step in sorted({0, 5, 10, 25, 50, 100, descent} & set(range(descent + 1))):
        for name, rows in {"mean": from_mean, "encoder": from_encoder}.items():
            print(f"{step:3} from {name:8}" + "".join(f"{x:9.4f}" for x in rows[step]))
    level = [row[0] <= from_encoder[0][0] for row in from_mean]
    large = jax.jit(lambda x: picture(model, x, 128, supersample=2))
    rows = [jnp.concatenate([*map(large, x[:6])], 1) for x in (truth, encoded, mean)]
    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "encoder.png", jnp.concatenate(rows))
    return from_mean, from_encoder, level.index(True) if any(level) else descent + 1


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:]))[2])
