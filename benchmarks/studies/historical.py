"""A photo as from an old album (grey, soft, grained, scratched) against the photo itself."""

import jax.numpy as jnp
import numpy as np
from common import PHOTOS, Known, arguments, report, srgb
from scipy import ndimage

from jaxface.evaluation.measures import psnr
from jaxface.evaluation.methods import observe_photo
from jaxface.evaluation.truth import face_texels
from jaxface.features.lpips import lpips
from jaxface.images import read_photo


def age(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a photo without colour and sharpness, with grain, scratches and faded blacks."""
    grey = photo @ [0.3, 0.59, 0.11]
    size = min(grey.shape)
    grey = ndimage.gaussian_filter(grey, size / 250)
    grain = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 0.7)
    grey = 0.15 + 0.75 * grey + 0.05 * grain
    for _ in range(6):
        column = rng.integers(grey.shape[1])
        grey[:, column : column + 1 + size // 600] += 0.3
    return np.clip(grey, 0, 1)[..., None].repeat(3, axis=-1).astype(np.float32)


args = arguments(__doc__)
known = Known(args.quality)
photo = read_photo(PHOTOS / "obama.jpg").srgb
photos = {"photo": photo, "aged": age(photo, np.random.default_rng(0))}
cases = {name: observe_photo(x, known.assets, known.config) for name, x in photos.items()}
textures = {name: srgb(case.ours.synthesis.texture) for name, case in cases.items()}
face = face_texels(known.assets.model, known.assets.texels)
colourless = {name: t @ np.array([0.3, 0.59, 0.11]) for name, t in textures.items()}
pair = [jnp.asarray(t, jnp.float32) for t in textures.values()]
distance = lpips(known.alexnet, *pair, mask=jnp.asarray(face, jnp.float32))
a, b = colourless.values()
row = {
    "PSNR, colour": psnr(*(t[face] for t in textures.values())),
    "PSNR, grey": psnr(a[face], b[face]),
    "LPIPS": float(distance),
}
shown = photos | {f"texture of {name}": t for name, t in textures.items()}
report(args.out / "historical.png", {"aged against photo": [row]}, shown, label="photo")
