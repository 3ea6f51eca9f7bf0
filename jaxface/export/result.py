"""Writes the result folder of one photo. Host code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxface.config import Detail
from jaxface.export.detail import expressive_head, posed_head
from jaxface.export.folder import whole_folder
from jaxface.export.glb import encode_glb
from jaxface.export.hair import HAIR, LASHES, obj_picture
from jaxface.export.obj import encode_mtl, encode_obj
from jaxface.export.preview import fine_head, preview, turntable, write_film
from jaxface.export.report import doubts_of, report
from jaxface.export.stored import PARAMETERS
from jaxface.export.textures import occlusion_map, padded
from jaxface.export.viewer import viewer_page
from jaxface.hair.config import HAIR_STYLES
from jaxface.hair.lashes import lash_basis, lash_mesh
from jaxface.hair.mesh import compact, hair_mesh
from jaxface.images import Photo, write_png
from jaxface.morphable.model import shape
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.occlusion import sky_seen
from jaxface.types import FaceModel, FitResult, Hair, Reconstruction


def write_result(
    folder: str | Path,
    *,
    photo: Photo,
    reconstruction: Reconstruction,
    model: FaceModel,
    details: dict[str, Any],
    face_names: Sequence[str] = (),
    detail: Detail = "none",
    extra: Callable[[Path], None] | None = None,
) -> None:
    """Writes the result of one photo: meshes, textures, preview, parameters, report.

    The folder appears complete or not at all; an older result there is replaced.

    Args:
        folder: to write; it must not exist, be empty, or hold an older result.
        photo: the input.
        reconstruction: whose camera is in pixels of the photo.
        model: the face model that was fitted.
        details: further entries of `parameters.json`: settings, versions, timings, checksums.
        face_names: of the database's faces (`Assets.face_names`), for the weights; numbers if
            missing.
        detail: of the meshes, as in `ReconstructConfig`.
        extra: writes more files into the folder before it appears.

    Raises:
        InputError: the folder holds something else, or cannot be written.

    Example:
        >>> write_result(
        ...     "out/me", photo=photo, reconstruction=result, model=model, details={}
        ... )  # doctest: +SKIP
    """
    with whole_folder(folder) as work:
        _fill(work, photo, reconstruction, model, details, face_names, detail)
        if extra is not None:
            extra(work)


def parameters_json(
    reconstruction: Reconstruction,
    model: FaceModel,
    details: dict[str, Any],
    face_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the contents of `parameters.json`: coefficients by name, blend, losses, details."""
    weights = _numbers(reconstruction.blend.weights)
    indices = np.asarray(reconstruction.blend.faces).tolist()
    faces = [face_names[i] if face_names else f"face_{i}" for i in indices]
    return {
        "format": "jaxface-1",
        "model": model.name,
        **fit_json(reconstruction.fit, model),
        "blend": {
            "weights": dict(zip(faces, weights, strict=True)),
            "duality_gap": _numbers(reconstruction.blend.duality_gap),
            "iterations": _numbers(reconstruction.blend.iterations),
        },
        "hair": hair_json(reconstruction.hair),
        "synthesis": {"losses": _numbers(reconstruction.synthesis.losses)},
        **details,
    }


def hair_json(hair: Hair | None) -> dict[str, Any]:
    """Returns what is said of the hair: style ("none" for the bald), overlap with the photo's."""
    if hair is None or int(hair.style) < 0:
        return {"style": "none"}
    return {"style": HAIR_STYLES[int(hair.style)], "overlap": _numbers(hair.overlap)}


def fit_json(fit: FitResult, model: FaceModel) -> dict[str, Any]:
    """Returns a fit as JSON values: coefficients by name, camera, light, errors, convergence."""
    parameters = fit.parameters
    return {
        "identity": dict(zip(model.identity_names, _numbers(parameters.identity), strict=True)),
        "expression": dict(
            zip(model.expression_names, _numbers(parameters.expression), strict=True)
        ),
        "albedo": dict(zip(model.albedo_names, _numbers(parameters.albedo), strict=True)),
        "camera": {
            key: _numbers(getattr(parameters.camera, key))
            for key in ("rotation", "translation", "focal", "principal")
        },
        "lighting": _numbers(parameters.lighting.coefficients),
        "fit": {
            key: _numbers(getattr(fit, key))
            for key in ("landmark_error", "photometric_error", "converged", "iterations")
        },
    }


def _fill(
    folder: Path,
    photo: Photo,
    reconstruction: Reconstruction,
    model: FaceModel,
    details: dict[str, Any],
    face_names: Sequence[str],
    detail: Detail,
) -> None:
    """Writes all files of a result into a folder."""
    fit, unwrapped = reconstruction.fit, reconstruction.unwrapped
    parameters = fit.parameters
    neutral = np.asarray(shape(model, parameters.identity, jnp.zeros_like(parameters.expression)))
    reconstruction = padded(reconstruction, model)
    albedo = np.asarray(linear_to_srgb(reconstruction.synthesis.texture))
    surface = reconstruction.materials
    hair = hair_mesh(reconstruction.hair)
    exposure = sky_seen(fit.vertices, model.triangles)
    finer = fine_head(model, fit.vertices, hair, exposure)
    expression = np.asarray(parameters.expression)
    hair = None if hair is None else compact(hair)
    lashes = lash_mesh(model, neutral, hair)
    moving = None if lashes is None else (lashes, lash_basis(model))
    head = expressive_head(model, neutral, detail)
    occlusion = occlusion_map(model, exposure, len(albedo))
    glb = encode_glb(
        *(*head, expression, albedo, surface), hair=hair, lashes=moving, occlusion=occlusion
    )
    (folder / "face.glb").write_bytes(glb)
    low_frequency = np.asarray(linear_to_srgb(unwrapped.low_frequency))
    page = viewer_page(photo.name, glb, low_frequency)
    (folder / "viewer.html").write_text(page, encoding="utf-8")
    meshes = {LASHES: lash_mesh(model, fit.vertices, hair), HAIR: hair}
    strands = {name: mesh for name, mesh in meshes.items() if mesh is not None}
    posed = posed_head(model, np.asarray(fit.vertices), np.asarray(surface.height), detail)
    (folder / "face.obj").write_text(encode_obj(*posed, hair=strands))
    (folder / "face.mtl").write_text(encode_mtl("albedo.png", hair=strands))
    images = {
        "albedo": albedo,
        "albedo_lowfreq": low_frequency,
        "partial": linear_to_srgb(unwrapped.partial),
        "visibility": unwrapped.visibility,
        "skin_mask": unwrapped.skin_mask,
        "normal": 0.5 + 0.5 * surface.normal,
        "roughness": surface.roughness,
        "specular": surface.specular,
        "occlusion": occlusion,
        "preview": preview(photo, reconstruction, model, finer),
    }
    images |= {name: obj_picture(mesh) for name, mesh in strands.items()}
    for name, image in images.items():
        write_png(folder / f"{name}.png", np.asarray(image))
    write_film(folder / "turntable.mp4", turntable(reconstruction, finer))
    data = parameters_json(reconstruction, model, details, face_names)
    data["doubts"] = doubts_of(data, float(np.mean(np.asarray(unwrapped.skin_mask))))
    (folder / PARAMETERS).write_text(json.dumps(data, indent=1) + "\n")
    (folder / "report.md").write_text(report(photo, reconstruction, data), encoding="utf-8")


def _numbers(array: Any) -> Any:
    """Returns an array as nested lists of JSON numbers; NaN and infinities become None."""
    values = np.asarray(array)
    if values.dtype.kind != "f":
        return values.tolist()
    rounded = np.array(np.round(values.astype(float), 7), object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()
