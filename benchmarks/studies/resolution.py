"""How many pixels the face needs: the same photo at several sizes."""

import numpy as np
from common import Known, arguments, report, srgb

from jaxface.evaluation.truth import Condition

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {}
for number in range(args.faces):
    for height in (32, 64, 128, 256, 512):
        truth, case = known.case(number, Condition(yaw=60, height=height))
        texture = np.asarray(case.ours.synthesis.texture)
        rows.setdefault(str(height), []).append(known.score(truth, texture))
        if number == 0:
            if height == 32:
                pictures = {"truth": srgb(truth.texture_linear)}
            pictures[f"{height} pixels"] = srgb(texture)
report(args.out / "resolution.png", rows, pictures, label="pixels, chin to hairline")
