"""The weight of the correlation term against the content term (Saito et al. 2017, figure 8)."""

from dataclasses import replace

import numpy as np
from common import Known, arguments, report, srgb

from jaxface.evaluation.truth import Condition
from jaxface.pipeline import infer

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {}
for number in range(args.faces):
    truth, case = known.case(number, Condition(yaw=60))
    if number == 0:
        pictures = {"photo": truth.photo_srgb, "truth": srgb(truth.texture_linear)}
    for alpha in (0.0, 0.1, 1.0, 10.0, 100.0):
        config = replace(known.config, synthesis=replace(known.config.synthesis, alpha=alpha))
        texture = np.asarray(infer(case.seen, case.assets, config)[1].texture)
        rows.setdefault(f"{alpha:g}", []).append(known.score(truth, texture))
        pictures.setdefault(f"alpha {alpha:g}", srgb(texture))
report(args.out / "alpha.png", rows, pictures, label="alpha")
