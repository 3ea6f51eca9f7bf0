"""The measures of one real photo, whose truth is unknown: `PARTS`, each of a `Judged` photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.evaluation.constancy import Appearance, constancy
from jaxface.evaluation.hair_measures import hair_errors
from jaxface.evaluation.irises import iris_albedo, iris_difference
from jaxface.evaluation.landmark_errors import landmark_errors
from jaxface.evaluation.measures import front_vertices
from jaxface.evaluation.polygons import kept_and_cut
from jaxface.evaluation.recognition import Recogniser, identity_distance
from jaxface.evaluation.round_trip import RoundTrip, render_round_trip, round_trip_errors
from jaxface.evaluation.skin_texels import front_skin, texel_size
from jaxface.evaluation.stains import stains
from jaxface.export.preview import Head, crop_head, fine_head, studio_view
from jaxface.features.weights import load_alexnet
from jaxface.fitting.landmarks import inter_ocular
from jaxface.hair.mesh import hair_mesh
from jaxface.images import Photo
from jaxface.landmarks.detector import detect
from jaxface.observe import observe, pixel_classes
from jaxface.reconstruct import reconstruct_crops
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import Assets, FaceCrop, FitResult, Reconstruction, UnwrapResult

YAWS = (-30, 0, 30)
"""Degrees by which the head is turned to its left for the recogniser."""
_SEEN = 0.5  # skin mask from which a texel is judged


@dataclass(frozen=True)
class Ruler:
    """What photos are measured with.

    Attributes:
        assets: of the pipeline.
        config: of the pipeline.
        polygons: by the photo's file name, for the masks.
        recogniser: for the identity distance.
        constancy: number of photos, the first ones, whose constancy is measured.
    """

    assets: Assets
    config: ReconstructConfig
    polygons: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    recogniser: Recogniser | None = None
    constancy: int = 0

    def parts(self, number: int, name: str) -> list[str]:
        """Returns which of `PARTS` are asked for of a photo, by its number from 0 and file name."""
        asked = {
            "identity": self.recogniser is not None,
            "masks": name in self.polygons,
            "constancy": number < self.constancy,
        }
        return [part for part in PARTS if asked.get(part, True)]

    @cached_property
    def alexnet(self) -> Any:
        """Weights of AlexNet and LPIPS."""
        return load_alexnet()

    @cached_property
    def skin(self) -> Bool[np.ndarray, "T T"]:
        """Texels of skin on the front of the face."""
        return front_skin(self.assets.model, self.assets.texels)

    @cached_property
    def texel_mm(self) -> float:
        """Width of a texel, millimetres."""
        return texel_size(self.assets.model, self.assets.texels)


class Judged:
    """A photo with its result, and pictures of it that are made when they are asked for."""

    def __init__(self, photo: Photo, ruler: Ruler, name: str) -> None:
        """Reconstructs a photo, named as its file. Raises `DetectionError` if it shows no face."""
        self.photo, self.ruler, self.name = photo, ruler, name
        self.landmarks, self.crop = find_face(photo, ruler.assets)
        self.result: Reconstruction = reconstruct_crops(self.crop, ruler.assets, ruler.config)
        self.texture = np.asarray(self.result.synthesis.texture, float)
        self.views: dict[float, np.ndarray] = {}

    @cached_property
    def head(self) -> Head:
        """The fitted head, subdivided, with its hair."""
        model = self.ruler.assets.model
        return fine_head(model, self.result.fit.vertices, hair_mesh(self.result.hair))

    @cached_property
    def trip(self) -> RoundTrip:
        """The result over the photo."""
        return render_round_trip(self.crop, self.result, self.head, self.ruler.assets)

    def view(self, yaw: float) -> Float[np.ndarray, "S S 3"]:
        """Returns the head in studio light, turned to its left by degrees; sRGB."""
        if yaw not in self.views:
            texture, surface = self.result.synthesis.texture, self.result.materials
            self.views[yaw] = np.asarray(studio_view(self.head, texture, surface, yaw))
        return self.views[yaw]

    def pictures(self) -> list[np.ndarray]:
        """Returns the photo's head, the result from the front, its left and its right, the albedo;
        sRGB."""
        camera, model = self.result.fit.parameters.camera, self.ruler.assets.model
        photo, _ = crop_head(self.photo.srgb, self.result.fit.vertices, camera, model)
        albedo = np.asarray(linear_to_srgb(self.result.synthesis.texture))
        return [photo, *(self.view(yaw) for yaw in (0, 45, -45)), albedo]


def find_face(photo: Photo, assets: Assets) -> tuple[Float[np.ndarray, "478 2"], FaceCrop]:
    """Returns the landmarks of a photo's largest face, in its pixels, and its crop.

    Raises:
        DetectionError: the photo shows no face.
    """
    found = detect(photo.srgb, assets.networks)
    points, blendshapes = found.landmarks[0], found.blendshapes[0]
    crop = crop_face(photo.srgb, points, blendshapes=blendshapes, focal=photo.focal)
    return np.asarray(points)[:, :2], crop


def _landmarks(it: Judged) -> dict[str, Any]:
    unit = float(inter_ocular(jnp.asarray(it.landmarks)))
    return landmark_errors(np.asarray(it.result.fit.landmarks), it.landmarks, unit)


def _round_trip(it: Judged) -> dict[str, Any]:
    return round_trip_errors(it.trip, it.ruler.alexnet)


def _identity(it: Judged) -> dict[str, Any]:
    judge = it.ruler.recogniser
    assert judge is not None
    photo = judge(it.photo.srgb)
    return {f"yaw {yaw:+d}": identity_distance(judge(it.view(yaw)), photo) for yaw in YAWS}


def _hair(it: Judged) -> dict[str, Any]:
    assets = it.ruler.assets
    classes = np.asarray(pixel_classes(it.crop, assets.vgg, assets.parser))
    return hair_errors(it.crop, classes, it.result, it.head)


def _stains(it: Judged) -> dict[str, Any]:
    seen = it.ruler.skin & (np.asarray(it.result.unwrapped.skin_mask) > _SEEN)
    return stains(it.texture, seen, it.ruler.texel_mm)


def _iris(it: Judged) -> dict[str, Any]:
    landmarks = np.asarray(it.crop.landmarks)
    albedo = iris_albedo(it.texture, it.ruler.assets.model, it.ruler.assets.texels)
    difference = iris_difference(it.trip.photo, it.trip.fitted, landmarks)
    return {"CIEDE2000": difference, "albedo": albedo.tolist()}


def _masks(it: Judged) -> dict[str, Any]:
    square = it.crop.crop
    corner = np.asarray(square.points_to_photo(jnp.zeros((1, 2))))[0]
    polygons = it.ruler.polygons[it.name]
    return kept_and_cut(polygons, it.trip.skin, it.trip.face, corner, float(square.scale))


def _constancy(it: Judged) -> dict[str, Any]:
    ruler = it.ruler
    model, assets = ruler.assets.model, ruler.assets.replace(database=None)

    def appearance(fit: FitResult, seen: UnwrapResult) -> Appearance:
        albedo = np.asarray(seen.low_frequency, float)[ruler.skin].mean(0)
        vertices, texture = np.asarray(fit.vertices, float), np.asarray(seen.partial, float)
        return Appearance(albedo, vertices, texture, np.asarray(seen.skin_mask))

    def look(photo: Photo) -> Appearance:
        seen = observe(find_face(photo, assets)[1], assets, ruler.config)
        return appearance(seen.fit, seen.unwrapped)

    first = appearance(it.result.fit, it.result.unwrapped)
    return constancy(it.photo, first, look, front_vertices(model), np.asarray(model.mirror))


PARTS: dict[str, Callable[[Judged], dict[str, Any]]] = {
    "landmarks": _landmarks,
    "round trip": _round_trip,
    "identity": _identity,
    "hair": _hair,
    "stains": _stains,
    "iris": _iris,
    "masks": _masks,
    "constancy": _constancy,
}
"""The measures of a photo, each a group of numbers in its line of the journal."""
