"""The benchmark: faces times conditions times methods, one line of a journal each.

A second run over the same folder does what is not in the journal yet, so a run may be stopped at
any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError
from jaxface.evaluation import light, scene
from jaxface.evaluation.journal import append_to_journal, read_journal
from jaxface.evaluation.measures import Judge, shape_errors
from jaxface.evaluation.methods import METHODS, Case, observe_photo, observe_truth
from jaxface.evaluation.recognition import Recogniser, identity_distance
from jaxface.evaluation.sources import Faces
from jaxface.evaluation.truth import Condition, Truth, photograph
from jaxface.features.weights import load_alexnet
from jaxface.images import write_png
from jaxface.morphable.model import shape
from jaxface.types import Assets

JOURNAL = "journal.jsonl"
SETTINGS = ("texture", "end to end")
_VIEW, _TURN = 256, 25.0  # pixels; degrees by which views turn the hidden side towards us
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is judged: the conditions of either setting, on so many faces."""

    faces: int
    texture: tuple[Condition, ...]
    end_to_end: tuple[Condition, ...]

    def cases(self, names: list[str]) -> list[tuple[str, str, Condition]]:
        """Returns setting, face and condition of every case; face by face, so that a run that is
        stopped has some whole faces."""
        found = []
        for name in names[: self.faces]:
            found += [(SETTINGS[0], name, condition) for condition in self.texture]
            found += [(SETTINGS[1], name, condition) for condition in self.end_to_end]
        return found


def quick(faces: int | None = None) -> Plan:
    """Returns a plan of a few minutes: half of each face is hidden."""
    return Plan(faces or 3, (Condition(yaw=60),), ())


def full(faces: int | None = None) -> Plan:
    """Returns the whole grid: every yaw, and from 30 degrees one change at a time."""
    grid = (
        *(Condition(yaw=yaw) for yaw in (0, 30, 60, 80)),
        *(Condition(light=light) for light in ("shadow", "glossy")),
        *(Condition(occluder=thing) for thing in ("bars", "glasses", "strands")),
        *(Condition(height=height) for height in (64, 128, 512)),
        Condition(jpeg=30),
        Condition(noise=0.04),
    )
    return Plan(faces or 12, grid, grid)


def key(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns what a line is about; two lines with one key are the same measurement."""
    return tuple(str(row[x]) for x in ("setting", "face", "condition", "quality", "size", "method"))


def stem(row: dict[str, Any]) -> str:
    """Returns the name of a case's pictures."""
    words = [str(row[x]) for x in ("setting", "face", "condition", "quality", "size")]
    return "_".join(words).replace(" ", "-")


def run(
    folder: Path,
    plan: Plan,
    faces: Faces,
    assets: Assets,
    config: ReconstructConfig,
    *,
    methods: Iterable[str] = tuple(METHODS),
    recogniser: Recogniser | None = None,
    say: Say = print,
) -> list[dict[str, Any]]:
    """Returns the journal after judging every case of a plan that it does not hold.

    Args:
        folder: where the journal and the pictures are.
        plan: which cases.
        faces: whose truths are known.
        assets: of the pipeline; each face is left out of them when it is judged.
        config: of the pipeline.
        methods: names of `METHODS`.
        recogniser: for the identity distance.
        say: told what is being done.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    done = {key(row) for row in read_journal(folder / JOURNAL)}
    alexnet = load_alexnet()
    cases = plan.cases(faces.names)
    for number, (setting, name, condition) in enumerate(cases, start=1):
        about = {"setting": setting, "face": name, "condition": condition.name,
                 "quality": config.quality, "size": config.size}  # fmt: skip
        missing = [m for m in methods if key(about | {"method": m}) not in done]
        if not missing:
            continue
        since = time.monotonic()
        truth = photograph(faces.face(name), condition, assets.model, assets.texels)
        known = faces.without(assets, name)
        try:
            if setting == SETTINGS[0]:
                case = observe_truth(truth.photo_srgb, truth.fit, known, config)
            else:
                case = observe_photo(truth.photo_srgb, known, config)
        except DetectionError as error:
            append_to_journal(
                folder / JOURNAL, [about | {"method": m, "failed": str(error)} for m in missing]
            )
            say(f"{number}/{len(cases)} {stem(about)}: {error}")
            continue
        judge = Judge(truth.texture_linear, truth.classes, truth.shading, assets.vgg, alexnet)
        _judge(folder, about, missing, truth, case, judge, setting == SETTINGS[1], recogniser)
        say(f"{number}/{len(cases)} {stem(about)}: {time.monotonic() - since:.0f} s")
    return read_journal(folder / JOURNAL)


def _judge(
    folder: Path,
    about: dict[str, Any],
    methods: list[str],
    truth: Truth,
    case: Case,
    judge: Judge,
    fitted: bool,
    recogniser: Recogniser | None,
) -> None:
    pictures = folder / "pictures" / stem(about)
    pictures.mkdir(parents=True, exist_ok=True)
    model = case.assets.model
    own, true = truth.face.vertices, truth.face.vertices
    errors = {}
    if fitted:
        flat = jnp.zeros(len(model.expression_names))
        own = np.asarray(shape(model, case.fit.parameters.identity, flat), float)
        errors = shape_errors(own, true, model)
    write_png(pictures / "photo.png", truth.photo_srgb)
    kept = np.asarray(case.seen.partial) * np.asarray(case.seen.skin_mask)[..., None]
    write_png(pictures / "texture seen.png", scene.encode_srgb(kept))
    write_png(pictures / "texture truth.png", judge.srgb)
    views = {"truth": view(case, true, truth.texture_linear, truth.turned)}
    write_png(pictures / "view truth.png", views["truth"])
    for method in methods:
        since = time.monotonic()
        texture = METHODS[method](case)
        seconds = round(time.monotonic() - since, 2)
        measures = judge(texture)
        measures["face"] |= errors
        picture = view(case, own, texture, truth.turned)
        if recogniser:
            faces = recogniser(picture), recogniser(views["truth"])
            measures["face"]["identity"] = identity_distance(*faces)
        write_png(pictures / f"texture {method}.png", scene.encode_srgb(texture))
        write_png(pictures / f"view {method}.png", picture)
        append_to_journal(
            folder / JOURNAL, [about | {"method": method, "seconds": seconds, "measures": measures}]
        )


def view(case: Case, vertices: np.ndarray, texture: np.ndarray, turned: float) -> np.ndarray:
    """Returns a picture of a textured face, turned so that what the photo hid is in view."""
    model = case.assets.model
    rotation = scene.head_rotation(-_TURN * np.sign(turned))
    shown = scene.Scene(
        vertices=vertices,
        triangles=np.asarray(model.triangles),
        uvs=np.asarray(model.uvs, float),
        uv_triangles=np.asarray(model.uv_triangles),
        texture_linear=np.asarray(texture),
        rotation=rotation,
        translation=np.array([0, 0, 1.2]) - rotation @ np.array([0, -0.025, -0.03]),
        focal=_VIEW * 1.2 / 0.3,
        principal=(_VIEW / 2, _VIEW / 2),
    )
    lighting = light.random_lighting(np.random.default_rng(1))
    return scene.render(shown, _VIEW, _VIEW, lighting)[0]
