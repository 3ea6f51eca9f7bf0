"""A reconstructed face edited: along the simplex of the database's faces, along alpha, and in age.

What the database has to say of a face is a point of a simplex. Moved to another point, with all
skin synthesized anew over the photo's low-frequency albedo, the face stays and its skin changes.
Age is an exchange of correlations: the skin is synthesized once towards those of the database's old
faces and once towards those of its young ones, and the ratio of the two textures, to some power, is
laid over the person's own.

`python examples/editing.py [PHOTO]` writes `out/editing.png`: rows of weights, alpha and age.
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxface
from jaxface import assets as files
from jaxface.database import read_list
from jaxface.export.mesh import smooth
from jaxface.export.preview import draw
from jaxface.images import write_png
from jaxface.pipeline.stages import bare_skin, skin_free, surface
from jaxface.rendering.lighting import studio
from jaxface.synthesis import level_seams

DRAFT = jaxface.ReconstructConfig.for_quality("draft")
EPSILON = 2e-3  # linear: below, a ratio means nothing


class Editor:
    """A face whose skin can be made anew."""

    def __init__(self, photo: jaxface.Photo, config: jaxface.ReconstructConfig, size: int) -> None:
        self.config, self.size, self.assets = config, size, jaxface.load_assets(config)
        self.uv = self.assets.model, self.assets.texels
        found = jaxface.detect(photo.srgb, self.assets.networks)
        self.result = jaxface.reconstruct(
            photo.srgb, found.landmarks[0], self.assets, self.config,
            blendshapes=found.blendshapes[0],
        )  # fmt: skip
        self.mesh = smooth(self.assets.model, np.asarray(self.result.fit.vertices))

    def skin(self, weights: np.ndarray, **settings) -> tuple[jax.Array, jaxface.Materials]:
        """Returns texture and relief, all of them inferred, for a point of the simplex."""
        database, low = self.assets.database, self.result.unwrapped.low_frequency
        weights, nothing = jnp.asarray(weights, jnp.float32), jnp.zeros(low.shape[:2])
        made = jaxface.synthesize(
            low, low, nothing, database.textures, weights, self.assets.vgg,
            fixed=skin_free(*self.uv), skin=bare_skin(*self.uv),
            correlation=self.config.correlation, config=replace(self.config.synthesis, **settings),
        )  # fmt: skip
        texture = level_seams(made.texture, self.assets.seams, *self.uv)
        return texture, surface(texture, nothing, database.heights, weights, *self.uv)

    def aged(self, old: tuple, young: tuple, power: float) -> tuple[jax.Array, jaxface.Materials]:
        """Returns the person's own texture and relief, older by a power of the ratio."""
        ratio = (old[0] + EPSILON) / (young[0] + EPSILON)
        skin = 1 - skin_free(*self.uv)[..., None]
        texture = self.result.synthesis.texture * ratio ** (power * skin)
        relief = jax.tree.map(lambda a, b: a + power * (b - a), self.result.materials, old[1])
        return jnp.clip(texture, 0.0, 1.0), relief

    def view(self, texture: jax.Array, relief: jaxface.Materials) -> np.ndarray:
        camera = jaxface.look_at(
            0.35, 0.0, self.size, self.size, target=(0.0, -0.015, -0.03), extent=0.24
        )
        return draw(*self.mesh, texture, camera, studio(), self.size, relief, background=0.02)[0]


def main(photo: str = "examples/photos/astronaut.jpg", size: int = 320,
         config: jaxface.ReconstructConfig = DRAFT, out: Path = Path("out")) -> dict:  # fmt: skip
    """Returns the rows of pictures."""
    editor = Editor(jaxface.read_photo(photo), config, size)
    records = [face["about"] for face in read_list(files.path("database"))["faces"]]
    age = np.array([about["age"] for about in records])
    wrinkled = np.array([about["base"].startswith("old") for about in records])
    freckles = np.array([about["freckles"] for about in records])

    own, other = np.asarray(editor.result.blend.weights), np.eye(len(age))[freckles.argmax()]
    usual = editor.skin(own)
    aged, fresh = (age > 0.84) & wrinkled, (age < 0.3) & ~wrinkled
    old, young = (editor.skin(some / some.sum()) for some in (aged, fresh))
    rows = {
        "weights": [usual, *(editor.skin((1 - t) * own + t * other) for t in (0.5, 1.0))],
        "alpha": [editor.skin(own, alpha=0.0), usual, editor.skin(own, alpha=30.0)],
        "age": [editor.aged(old, young, power) for power in (0.0, 0.75, 1.5)],
    }
    pictures = {name: [editor.view(*skin) for skin in row] for name, row in rows.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_png(
        out / "editing.png", np.concatenate([np.concatenate(x, 1) for x in pictures.values()])
    )
    return pictures


if __name__ == "__main__":
    main(*sys.argv[1:])
