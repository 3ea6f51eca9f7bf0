"""A reconstructed face edited: along the simplex of the database's faces, along alpha, and in age.

What the database has to say of a face is one point of a simplex and the correlations blended there.
Move the point and the skin changes while the face stays. Old and young faces of the database are
told apart by its records; exchanging the young ones' correlations for the old ones' ages the skin.

`python examples/editing.py [PHOTO]` writes `out/editing.png`, a row for each.
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import jaxface
from jaxface import assets as files
from jaxface.database import read_list
from jaxface.export.mesh import smooth
from jaxface.export.preview import studio_view
from jaxface.images import write_png
from jaxface.pipeline.stages import bare_skin, skin_free, surface
from jaxface.synthesis import level_seams


def share(faces: np.ndarray) -> jnp.ndarray:
    """Returns equal weights of some of the database's faces."""
    return jnp.asarray(faces / faces.sum(), jnp.float32)


class Editor:
    """A face whose skin is synthesized anew for any point of the simplex."""

    def __init__(self, photo: jaxface.Photo, quality: str, size: int) -> None:
        self.config, self.size = jaxface.ReconstructConfig.for_quality(quality), size
        self.assets = jaxface.load_assets(self.config)
        found = jaxface.detect(photo.srgb, self.assets.networks)
        self.result = jaxface.reconstruct(
            photo.srgb, found.landmarks[0], self.assets, self.config,
            blendshapes=found.blendshapes[0],
        )  # fmt: skip
        records = [face["about"] for face in read_list(files.path("database"))["faces"]]
        self.records = {key: np.array([row[key] for row in records]) for key in records[0]}
        self.view = smooth(self.assets.model, np.asarray(self.result.fit.vertices))

    def skin(self, base: jnp.ndarray, weights: jnp.ndarray, alpha: float) -> jnp.ndarray:
        """Returns a picture of the face, its detail the database's at `weights`; `base` is what the
        detail is laid over."""
        database, fixed = self.assets.database, (self.assets.model, self.assets.texels)
        nothing = jnp.zeros(base.shape[:2])
        made = jaxface.synthesize(
            base, base, nothing, database.textures, weights, self.assets.vgg,
            fixed=skin_free(*fixed), skin=bare_skin(*fixed), correlation=self.config.correlation,
            config=replace(self.config.synthesis, alpha=alpha),
        )  # fmt: skip
        texture = level_seams(made.texture, self.assets.seams, *fixed)
        relief = surface(texture, nothing, database.heights, weights, *fixed)
        return studio_view(*self.view, texture, relief, 20.0, size=self.size)


def main(photo: str = "examples/photos/astronaut.jpg", quality: str = "draft", size: int = 320,
         steps: int = 4, out: Path = Path("out")) -> dict[str, list]:  # fmt: skip
    """Returns the rows of pictures."""
    editor = Editor(jaxface.read_photo(photo), quality, size)
    smooth_albedo, texture = editor.result.unwrapped.low_frequency, editor.result.synthesis.texture
    own = editor.result.blend.weights
    age, freckles = editor.records["age"], editor.records["freckles"]
    other = share(freckles == freckles.max())
    old_base = np.array([base.startswith("old") for base in editor.records["base"]])
    old = share((age > 0.84) & old_base)
    young = share((age < 0.3) & ~old_base)
    rows = {
        "weights": [editor.skin(smooth_albedo, (1 - t) * own + t * other, 3.0)
                    for t in np.linspace(0, 1, steps)],
        "alpha": [editor.skin(smooth_albedo, own, alpha) for alpha in np.geomspace(0.3, 100, steps)],
        "age": [editor.skin(texture, (1 - t) * young + t * old, 3.0)
                for t in np.linspace(0, 1, steps)],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "editing.png", np.concatenate([np.concatenate(row, 1) for row in rows.values()]))
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
