"""The fit to landmarks beside eos-py's, with the same face model and the same landmarks.

`python benchmarks/landmark_fit.py PYTHON [PHOTO ...]`: PYTHON has eos-py. Prints a row a photo,
medians of calls taken in turn. eos alternates between a scaled orthographic camera, shape and
expressions (five rounds, its default), without the jaw's contour; ours has perspective, robust
losses and the contour, until it converges. Errors are those of the 51 landmarks inside the face.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from competitor import Other, in_turn, serve

PHOTOS = [f"examples/photos/{name}.jpg" for name in ("astronaut", "biden", "obama")]
_INNER = slice(17, 68)  # of the 68 landmarks


def theirs(case: Path) -> dict[str, Any]:
    """Returns a call for each photo, and one that writes what eos has fitted."""
    import eos

    with np.load(case) as data:
        found = dict(data)
    triangles = [list(map(int, row)) for row in found["triangles"]]
    modes = found["identity"].reshape(len(found["identity"]), -1)
    size = np.linalg.norm(modes, axis=1)
    mean = found["mean"].reshape(-1, 1)
    shape = eos.morphablemodel.PcaModel(
        mean, (modes / size[:, None]).T, size[:, None] ** 2, triangles
    )
    shapes = [
        eos.morphablemodel.Blendshape(str(i), mode.reshape(-1, 1))
        for i, mode in enumerate(found["expression"])
    ]
    model = eos.morphablemodel.MorphableModel(shape, shapes, eos.morphablemodel.PcaModel())
    identity = eos.core.LandmarkMapper()  # landmarks are named by their vertices
    fitted: dict[str, Any] = {}

    def call(number: int) -> None:
        width, height = map(int, found["sizes"][number])
        landmarks = [
            eos.core.Landmark(str(vertex), point)
            for vertex, point in zip(found["vertices"], found["points"][number], strict=True)
        ]
        mesh, view, _, _ = eos.fitting.fit_shape_and_pose(model, landmarks, identity, width, height)
        points = np.array(mesh.vertices)[found["vertices"]]
        points = (
            np.c_[points, np.ones(len(points))]
            @ (np.array(view.get_projection()) @ np.array(view.get_modelview())).T
        )
        screen = (points[:, :2] * [0.5, -0.5] + 0.5) * [width, height]
        fitted[str(number)] = screen.tolist()

    def write() -> None:
        case.with_suffix(".json").write_text(json.dumps(fitted))

    return {str(i): partial(call, i) for i in range(len(found["points"]))} | {"write": write}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="?")
    parser.add_argument("photos", nargs="*", default=PHOTOS)
    parser.add_argument("--serve", type=Path, metavar="CASE", help="answer for eos")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if given.serve:
        serve(theirs(given.serve))
        return

    import jax

    import jaxface
    from jaxface.cli.work import prepare_jax
    from jaxface.fitting import FitConfig
    from jaxface.fitting.schemes import with_landmarks68
    from jaxface.landmarks.schemes import IBUG68

    prepare_jax(None)
    model, networks = with_landmarks68(jaxface.load_model()), jaxface.load_networks()
    config = FitConfig(photometric=False)
    shown = [jaxface.read_photo(path).srgb for path in given.photos]
    points = [
        np.asarray(jaxface.detect(photo, networks).landmarks[0])[np.array(IBUG68), :2]
        for photo in shown
    ]
    corner = np.argmax(model.landmark_barycentrics, axis=1)
    rows = np.asarray(model.triangles)[np.asarray(model.landmark_triangles)]
    vertices = np.take_along_axis(rows, corner[:, None], axis=1)[:, 0]
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "case.npz"
        np.savez(
            case,
            mean=model.mean, identity=model.identity_basis, expression=model.expression_basis,
            triangles=model.triangles, vertices=vertices[_INNER],
            points=np.stack(points)[:, _INNER].astype(np.float32),
            sizes=[photo.shape[1::-1] for photo in shown],
        )  # fmt: skip
        other = Other(given.python, __file__, str(case))
        times, errors = [], []
        for number, (photo, target) in enumerate(zip(shown, points, strict=True)):
            call = partial(jaxface.fit, photo, target, model, config=config)
            times.append(
                in_turn(
                    lambda call=call: jax.block_until_ready(call()),
                    lambda number=number: other(str(number)),
                    given.rounds,
                )
            )
            errors.append((np.asarray(call().landmarks), target))
        other("write")
        fitted = json.loads(case.with_suffix(".json").read_text())
    print("| photo | jaxface ms | error % | eos ms | error % |\n| --- | --- | --- | --- | --- |")
    for number, path in enumerate(given.photos):
        mine = _error(*errors[number])
        full = points[number].copy()
        full[_INNER] = fitted[str(number)]
        their = _error(full, points[number])
        ours, eos = (f"{1e3 * seconds:.1f}" for seconds in times[number])
        print(f"| {Path(path).stem} | {ours} | {mine:.2f} | {eos} | {their:.2f} |")


def _error(fitted: np.ndarray, target: np.ndarray) -> float:
    """Returns the mean distance, per cent of the distance between the eyes' centres."""
    eyes = target[36:42].mean(0) - target[42:48].mean(0)
    away = np.linalg.norm(fitted[_INNER] - target[_INNER], axis=1)
    return 100 * statistics.fmean(away) / float(np.linalg.norm(eyes))


if __name__ == "__main__":
    main()
