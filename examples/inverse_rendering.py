"""Pose, light and texture of a known face from one picture, by gradient descent through `render`.

`python examples/inverse_rendering.py [STEPS]` writes `out/inverse_rendering.png`: start, result and
target side by side. What the picture does not show of the texture stays as it was.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import jaxface
from jaxface.images import write_png
from jaxface.morphable.albedo import albedo_texture
from jaxface.rendering.camera import look_at
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.lighting import directional, uniform

TEXTURE = 128


def main(steps: int = 150, size: int = 96, out: Path = Path("out")) -> tuple[float, float]:
    """Returns how far pixels are off at the start and at the end, mean absolute sRGB."""
    model = jaxface.load_model()

    @jax.jit
    def picture(unknown: dict) -> jax.Array:
        albedo = jax.nn.sigmoid(unknown["texture"])
        linear, _ = jaxface.render(
            model, model.mean, albedo, unknown["camera"], unknown["light"], size, size,
            smooth=True, background=0.2,
        )  # fmt: skip
        return linear_to_srgb(jnp.clip(linear, 1e-4, 1.0))

    albedo = albedo_texture(model, jnp.zeros(len(model.albedo_names)), TEXTURE)
    lamp = directional(jnp.array([-0.8, -0.3, -0.6]), jnp.array([0.7, 0.6, 0.5]), ambient=0.4)
    target = picture({
        "camera": look_at(0.35, 0.1, height=size, width=size),
        "light": lamp,
        "texture": jax.scipy.special.logit(jnp.clip(albedo, 0.01, 0.99)),
    })  # fmt: skip
    unknown = start = {
        "camera": look_at(0.0, 0.0, height=size, width=size),
        "light": uniform(0.7),
        "texture": jnp.full((TEXTURE, TEXTURE, 3), -0.5),
    }

    def loss(unknown: dict) -> jax.Array:
        return jnp.mean(jnp.abs(picture(unknown) - target))

    # `model` is closed over: XLA then looks up once which triangles share an edge.
    # Pose and light first: the texture could explain anything.
    rates = {"camera": optax.adam(0.01), "light": optax.adam(0.02), "texture": optax.adam(0.05)}
    optimizer = optax.multi_transform(rates, {name: name for name in rates})
    state = optimizer.init(unknown)

    @jax.jit
    def step(unknown: dict, state: tuple, late: jax.Array) -> tuple:
        value, slope = jax.value_and_grad(loss)(unknown)
        slope["texture"] *= late
        slope["camera"] = slope["camera"].replace(focal=0.0 * slope["camera"].focal)
        change, state = optimizer.update(slope, state)
        return optax.apply_updates(unknown, change), state, value

    for number in range(steps):
        late = jnp.asarray(1.0 * (number > steps // 3))
        unknown, state, value = step(unknown, state, late)
        if number % 25 == 0:
            print(f"step {number:3}: {float(value):.4f}")
    out.mkdir(parents=True, exist_ok=True)
    shown = jnp.concatenate([picture(start), picture(unknown), target], axis=1)
    write_png(out / "inverse_rendering.png", shown)
    return float(loss(start)), float(loss(unknown))


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:])))
