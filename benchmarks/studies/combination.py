"""Convex combination of the database's correlations against the nearest face's and the photo's own.

All else, the start included, is the same (Saito et al. 2017, figures 6 and 7).
"""

from functools import partial

import numpy as np
from common import Known, arguments, report, srgb

from jaxface.evaluation.methods import own_target, synthesize_for
from jaxface.evaluation.truth import Condition
from jaxface.pipeline import bare_skin, skin_free
from jaxface.rendering.color import linear_to_srgb
from jaxface.synthesis import blended_correlations, compose

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {"convex": [], "nearest": [], "direct": []}
for number in range(args.faces):
    truth, case = known.case(number, Condition(yaw=60))
    weights, config = case.ours[0].weights, case.config.correlation
    # With all the weight on the face that counts most, the combination is that face alone.
    one = np.eye(len(weights), dtype=np.float32)[int(weights.argmax())]
    seen, assets = case.seen, case.assets
    composed = compose(
        *(seen.low_frequency, seen.partial, seen.skin_mask, assets.database.textures, one),
        *(case.config.synthesis, skin_free(assets.model, assets.texels), seen.pixels_per_texel),
        bare_skin(assets.model, assets.texels),
    )
    face = 255.0 * linear_to_srgb(composed.completions[:1])
    nearest = partial(
        blended_correlations, face, np.ones(1, np.float32), assets.vgg, config, experts=1
    )
    made = {
        "convex": np.asarray(case.ours[1].texture),
        "nearest": synthesize_for(case, nearest),
        "direct": synthesize_for(case, own_target(case)),
    }
    for name, texture in made.items():
        rows[name].append(known.score(truth, texture))
    if number == 0:
        pictures = {"photo": truth.photo_srgb, "truth": srgb(truth.texture_linear)}
        pictures |= {name: srgb(texture) for name, texture in made.items()}
report(args.out / "combination.png", rows, pictures, label="correlations of")
