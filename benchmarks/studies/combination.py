"""Convex combination of the database's correlations against the nearest face's and the photo's own.

All else, the start included, is the same (Saito et al. 2017, figures 6 and 7): the composition is
optimised for each target.
"""

from typing import Any

import jax
import numpy as np
from common import Known, arguments, report, srgb

from jaxface import compose, linear_to_srgb
from jaxface.evaluation.methods import own_target, refined, synthesize_for
from jaxface.evaluation.truth import Condition
from jaxface.synthesis import blended_correlations

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {"convex": [], "nearest": [], "direct": []}
for number in range(args.faces):
    truth, case = known.case(number, Condition(yaw=60))
    weights, config = case.ours.blend.weights, case.config.correlation
    # With all the weight on the face that counts most, the combination is that face alone.
    one = np.eye(len(weights), dtype=np.float32)[int(weights.argmax())]
    seen, assets = case.seen, case.assets
    composed = compose(
        *(jax.random.key(0), seen.low_frequency, seen.partial, seen.skin_mask),
        *(assets.database.textures, one),
        painted=assets.painted,
        bare_skin=assets.bare_skin,
        pixels_per_texel=seen.pixels_per_texel,
    )
    face = 255.0 * linear_to_srgb(composed.completions[:1])

    def nearest(side: int, face: Any = face, config: Any = config, assets: Any = assets) -> Any:
        one = np.ones(1, np.float32)
        return blended_correlations(face, one, assets.vgg, config, side=side, faces=1)

    made = {
        "convex": refined(case),
        "nearest": synthesize_for(case, nearest),
        "direct": synthesize_for(case, own_target(case)),
    }
    for name, texture in made.items():
        rows[name].append(known.score(truth, texture))
    if number == 0:
        pictures = {"photo": truth.photo_srgb, "truth": srgb(truth.texture_linear)}
        pictures |= {name: srgb(texture) for name, texture in made.items()}
report(args.out / "combination.png", rows, pictures, label="correlations of")
