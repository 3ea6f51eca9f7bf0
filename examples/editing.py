"""A reconstructed face edited: along the simplex of the database's faces, along alpha, and in age.

What the database has to say of a face is a point of a simplex. Moved to another point, with all
skin synthesized anew over the photo's low-frequency albedo, the face stays and its skin changes.
Alpha decides how much of the skin is made by correlations where the synthesis starts from nothing
but that albedo, as in the paper. Age is an exchange of correlations, the person's for those of the
database's old faces: what they add to the albedo is laid over the person's own texture.

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
from jaxface.synthesis import blur, level_seams

DRAFT = jaxface.ReconstructConfig.for_quality("draft")
STRANGER = 25  # a freckled face of the database
AGEING = ("skin", "nose", "lids", "lips", "neck")
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

    def aged(self, old: tuple, power: float) -> tuple[jax.Array, jaxface.Materials]:
        """Returns the person's own texture and relief with a power of the old faces' detail."""
        low = self.result.unwrapped.low_frequency
        ratio = ((old[0] + EPSILON) / (low + EPSILON)).mean(-1, keepdims=True)  # lines, no hue
        model, texels = self.uv
        parts = jnp.array([*map(model.region_names.index, AGEING)])
        skin = blur(jnp.isin(texels.region_ids, parts)[..., None].astype(jnp.float32), 2.0)
        texture = self.result.synthesis.texture * ratio ** (power * skin)
        relief = jax.tree.map(lambda a, b: a + power * (b - a), self.result.materials, old[1])
        return jnp.clip(texture, 0.0, 1.0), relief

    def view(self, texture: jax.Array, relief: jaxface.Materials) -> np.ndarray:
        camera = jaxface.look_at(
            0.35, 0.0, self.size, self.size, target=(0.0, -0.015, -0.03), extent=0.24
        )
        return draw(*self.mesh, texture, camera, studio(), self.size, relief, background=0.02)[0]


def detail(picture: np.ndarray) -> float:
    """Returns the mean second difference down the middle of a picture, levels of 255."""
    near = slice(3 * len(picture) // 10, 7 * len(picture) // 10)
    return float(np.abs(np.diff(np.round(255 * picture).mean(-1)[near, near], 2, axis=0)).mean())


def main(photo: str = "examples/photos/astronaut.jpg", size: int = 320,
         config: jaxface.ReconstructConfig = DRAFT, out: Path = Path("out")) -> dict:  # fmt: skip
    """Returns the rows of pictures."""
    editor = Editor(jaxface.read_photo(photo), config, size)
    records = [face["about"] for face in read_list(files.path("database"))["faces"]]
    about = {key: np.array([record[key] for record in records]) for key in records[0]}
    old = (about["age"] > 0.84) & np.char.startswith(about["base"], "old")
    old &= about["stubble"] == 0

    own, other = np.asarray(editor.result.blend.weights), np.eye(len(old))[STRANGER]
    aged = editor.skin(old / old.sum())
    rows = {
        "weights": [editor.skin((1 - t) * own + t * other) for t in (0.0, 0.5, 1.0)],
        "alpha": [editor.skin(own, alpha=alpha, method="paper") for alpha in (0.0, 3.0, 30.0)],
        "age": [editor.aged(aged, power) for power in (0.0, 0.7, 1.4)],
    }
    pictures = {name: [editor.view(*skin) for skin in row] for name, row in rows.items()}
    for name, row in pictures.items():
        print(f"{name:8} detail", *(f"{detail(picture):.2f}" for picture in row))
    out.mkdir(parents=True, exist_ok=True)
    write_png(
        out / "editing.png", np.concatenate([np.concatenate(x, 1) for x in pictures.values()])
    )
    return pictures


if __name__ == "__main__":
    main(*sys.argv[1:])
