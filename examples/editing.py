"""A reconstructed face edited: along the simplex of the database's faces, along alpha, and in age.

A face's blend of the database is a point of a simplex. Moved to another point, with all skin
synthesized anew over the photo's low-frequency albedo, the face stays and its skin changes. Alpha
weighs the correlations where the synthesis starts from nothing but that albedo, as in the paper.
Age is an exchange of correlations, the person's for those of the database's old faces: the detail
that they add to the albedo is laid over the person's own texture.

`python examples/editing.py [PHOTO]` writes `out/editing.png`: rows of weights, alpha and age.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxface
from jaxface import assets as files
from jaxface.database import read_list
from jaxface.export.mesh import smooth
from jaxface.export.preview import draw
from jaxface.filters import blur, log_decode, log_encode
from jaxface.images import write_png
from jaxface.rendering.lighting import studio

DRAFT = jaxface.ReconstructConfig.for_quality("draft")
FRECKLED = 25  # a face of the database
AGEING = ("skin", "nose", "lids", "lips", "neck")


class Editor:
    """A face whose skin can be made anew."""

    def __init__(self, photo: jaxface.Photo, config: jaxface.ReconstructConfig, size: int) -> None:
        self.config, self.size, self.assets = config, size, jaxface.load_assets(config)
        found = jaxface.detect(photo.srgb, self.assets.networks)
        self.result = jaxface.reconstruct(
            photo.srgb, found.landmarks[0], self.assets, self.config,
            blendshapes=found.blendshapes[0],
        )  # fmt: skip
        self.mesh = smooth(self.assets.model, np.asarray(self.result.fit.vertices))

    def skin(self, weights: np.ndarray, **settings) -> tuple[jax.Array, jaxface.Materials]:
        """Returns texture (linear RGB) and relief, all of them inferred, of a simplex point.

        Args:
            weights: of the database's faces, sum 1.
            settings: of the synthesis, such as `alpha`.
        """
        # As if the photo showed nothing but the low-frequency albedo.
        low = self.result.unwrapped.low_frequency
        nothing = jnp.zeros(low.shape[:2])
        seen = self.result.unwrapped.replace(partial=low, skin_mask=nothing)
        blend = self.result.blend.replace(weights=jnp.asarray(weights, jnp.float32))
        result = jaxface.refine(
            self.result.replace(unwrapped=seen, blend=blend),
            self.assets.database,
            self.assets,
            self.config.replace(synthesis=self.config.synthesis.replace(**settings)),
            stepwise=True,
        )
        return result.synthesis.texture, result.materials

    def aged(self, old: tuple, power: float) -> tuple[jax.Array, jaxface.Materials]:
        """Returns the person's own texture and relief with a power of the old faces' detail."""
        texture, low = self.result.synthesis.texture, self.result.unwrapped.low_frequency
        lines = (log_encode(old[0]) - log_encode(low)).mean(-1, keepdims=True)  # without hue
        model, texels = self.assets.model, self.assets.texels
        parts = jnp.array([*map(model.region_names.index, AGEING)])
        skin = blur(jnp.isin(texels.region_ids, parts)[..., None].astype(jnp.float32), 2.0)
        relief = jax.tree.map(lambda a, b: a + power * (b - a), self.result.materials, old[1])
        return log_decode(log_encode(texture) + power * skin * lines), relief

    def view(self, texture: jax.Array, relief: jaxface.Materials) -> np.ndarray:
        """Returns a picture of the face, sRGB, turned by 20 degrees."""
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

    own, other = np.asarray(editor.result.blend.weights), np.eye(len(old))[FRECKLED]
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
