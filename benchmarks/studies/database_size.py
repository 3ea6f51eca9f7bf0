"""How many faces the database needs: nested random subsets of it."""

import numpy as np
from common import Known, arguments, report, srgb

from jaxface import infer
from jaxface.evaluation.truth import Condition

args = arguments(__doc__)
known = Known(args.quality)
rows: dict[str, list] = {}
for number in range(args.faces):
    truth, case = known.case(number, Condition(yaw=60))
    if number == 0:
        pictures = {"photo": truth.photo_srgb, "truth": srgb(truth.texture_linear)}
    everybody = case.assets.database
    order = np.random.default_rng(number).permutation(len(everybody.indices))
    for size in (2, 4, 8, 16, 32, 64):
        chosen = order[:size]
        result = infer(case.observation, everybody.take(chosen), case.assets, known.config)
        texture = np.asarray(result.synthesis.texture)
        rows.setdefault(str(len(chosen)), []).append(known.score(truth, texture))
        pictures.setdefault(f"{len(chosen)} faces", srgb(texture))
        if size >= len(order):
            break
report(args.out / "database_size.png", rows, pictures, label="faces")
