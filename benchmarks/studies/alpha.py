"""The weight of the correlation term against the content term (Saito et al. 2017, figure 8).

The composition is optimised (`refine`) with each weight.
"""

import numpy as np
from common import Known, arguments, report, srgb

from jaxface import refine
from jaxface.evaluation.truth import Condition

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {}
for number in range(args.faces):
    truth, case = known.case(number, Condition(yaw=60))
    if number == 0:
        pictures = {"photo": truth.photo_srgb, "truth": srgb(truth.texture_linear)}
    for alpha in (0.0, 0.1, 1.0, 10.0, 100.0):
        config = known.config.replace(synthesis=known.config.synthesis.replace(alpha=alpha))
        refined = refine(case.ours, case.assets.database, case.assets, config, stepwise=True)
        texture = np.asarray(refined.synthesis.texture)
        rows.setdefault(f"{alpha:g}", []).append(known.score(truth, texture))
        pictures.setdefault(f"alpha {alpha:g}", srgb(texture))
report(args.out / "alpha.png", rows, pictures, label="alpha")
