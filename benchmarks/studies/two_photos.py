"""Whether two photos of one person give one face, with another person's photo as the scale.

Tone is taken out (a factor per channel): one photo cannot tell darker skin from weaker light.
"""

import jax.numpy as jnp
import numpy as np
from common import PHOTOS, Known, arguments, report, srgb

from jaxface.evaluation.measures import gain, psnr
from jaxface.evaluation.methods import observe_photo
from jaxface.evaluation.truth import face_texels
from jaxface.features.lpips import lpips
from jaxface.images import read_photo

args = arguments(__doc__)
known = Known(args.quality)
model, texels = known.assets.model, known.assets.texels
face = face_texels(model, texels)
names = ("obama", "obama2", "biden")
photos = {name: read_photo(PHOTOS / f"{name}.jpg").srgb for name in names}
cases = {name: observe_photo(photo, known.assets, known.config) for name, photo in photos.items()}
linear = {name: np.asarray(case.ours.synthesis.texture) for name, case in cases.items()}
textures = {name: srgb(texture) for name, texture in linear.items()}
seen = {name: np.asarray(case.seen.skin_mask) > 0.5 for name, case in cases.items()}
rows = {}
for first, second in (("obama", "obama2"), ("obama", "biden"), ("obama2", "biden")):
    both = face & seen[first] & seen[second]
    a = srgb(linear[first] * gain(linear[first], linear[second], both))
    b = textures[second]
    other = face & ~both
    pair = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    distance = lpips(known.alexnet, *pair, mask=jnp.asarray(face, jnp.float32))
    rows[f"{first}, {second}"] = [
        {
            "PSNR, both seen": psnr(a[both], b[both]),
            "PSNR, inferred": psnr(a[other], b[other]),
            "LPIPS, face": float(distance),
        }
    ]
report(args.out / "two_photos.png", rows, photos | {f"{n} ": t for n, t in textures.items()},
       label="pair")  # fmt: skip
