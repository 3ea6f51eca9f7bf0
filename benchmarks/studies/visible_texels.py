"""How much of the face must be seen: a growing part of the photo from the forehead down is hidden.

All are judged on the texels that the whole photo hides.
"""

import numpy as np
from common import Known, arguments, report, srgb

from jaxface.evaluation.methods import observe_truth
from jaxface.evaluation.truth import Condition

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {}
for number in range(args.faces):
    truth, assets = known.truth(number, Condition(yaw=60))
    if number == 0:
        pictures = {"truth": srgb(truth.texture_linear)}
    height, width = truth.photo_srgb.shape[:2]
    for hidden in (0.0, 0.3, 0.45, 0.55, 0.65):
        shown = np.ones((height, width), np.float32)
        shown[: int(hidden * height)] = 0
        case = observe_truth(truth.photo_srgb, truth.fit, assets, known.config, shown=shown)
        texture = np.asarray(case.ours.synthesis.texture)
        face = sum(truth.classes.values()).astype(bool)
        percent = 100 * float(np.asarray(case.seen.skin_mask)[face].mean())
        scores = known.score(truth, texture) | {"seen, % of face": percent}
        rows.setdefault(f"{100 * hidden:.0f} %", []).append(scores)
        pictures.setdefault(f"{percent:.0f} % seen", srgb(texture))
report(args.out / "visible_texels.png", rows, pictures, label="hidden part of the photo")
