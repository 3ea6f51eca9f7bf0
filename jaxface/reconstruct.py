"""One photo or many in, complete faces out: the chain of `observe`, `infer` and `refine`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxface.config import ReconstructConfig
from jaxface.crops import crop_face
from jaxface.database import DiskDatabase
from jaxface.infer import SHORTLIST, infer, rank_faces
from jaxface.observe import observe
from jaxface.precision import jit
from jaxface.refine import refine
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import (
    Assets,
    Database,
    FaceCrop,
    FeatureCaches,
    Observation,
    Reconstruction,
    UnwrapResult,
)

Progress = Callable[[str, dict[str, Any]], None]
"""Called with a stage's name and `{"state": "start" | "step" | "end", ...}`."""
FACES = "faces"
"""Name of the device mesh's one axis."""


def reconstruct_face(
    crop: FaceCrop, assets: Assets, config: ReconstructConfig = ReconstructConfig()
) -> Reconstruction:
    """Returns the complete textured face of a crop: `infer` after `observe`.

    Pure, of one face: works under `jit`, `vmap`, `grad` and `eval_shape`. Differentiable in
    everything floating point in the crop, the assets and the config, as those two are. The
    database must be in memory, and `config.refine` is not looked at: `refine` is a step of its own.
    Saito et al. (CVPR 2017).

    Args:
        crop: from `crop_face`; sRGB, pixels of the square.
        assets: from `load_assets` with the same `config`.
        config: settings.

    Example:
        >>> faces = jax.vmap(reconstruct_face, (0, None))(crops, assets)  # doctest: +SKIP
    """
    return infer(observe(crop, assets, config), assets.database, assets, config)


def reconstruct(
    photo_srgb: Float[np.ndarray | Array, "H W 3"],
    landmarks: Float[np.ndarray | Array, "L D"],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    blendshapes: Float[np.ndarray | Array, "52"] | None = None,
    focal: float | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the complete textured face of a photo. Host function around the pure stages.

    Args:
        photo_srgb: `[H, W, 3]`, 0..1.
        landmarks: 478, 468 or 68 points in pixels, from `detect` or the user; NaN where one is
            missing.
        assets: from `load_assets` with the same `config`.
        config: settings.
        blendshapes: `Detection.blendshapes`, 0..1, a start for the expression.
        focal: focal length in pixels, where it is known.
        progress: called with the stage's name (`observe`, `infer`, `refine`) and
            `{"state": "start" | "step" | "end", ...}`.

    Raises:
        InputError: the number of landmarks is not one that the model knows.

    Source: Saito, Wei, Hu, Nagano and Li, *Photorealistic Facial Texture Inference Using Deep
    Neural Networks* (CVPR 2017).

    Example:
        >>> reconstruct(photo.srgb, found.landmarks[0], load_assets())  # doctest: +SKIP
    """
    crop = crop_face(photo_srgb, landmarks, blendshapes=blendshapes, focal=focal)
    return reconstruct_crops(crop, assets, config, progress=progress)


def reconstruct_batch(
    crops: Sequence[FaceCrop],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    rows: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
) -> list[Reconstruction]:
    """Returns the reconstructions of faces, in their order, as NumPy arrays. Host function.

    The stages of `reconstruct_face`, mapped over the faces and spread over the devices. A face's
    result does not depend on its neighbours; it differs from its single run by what another order
    of sums makes of rounding. Faces of one `batch_key` share a batch; the last batch is filled up
    with its last face. Programs are compiled once per key, whatever the number of faces.

    Args:
        crops: from `crop_face`.
        assets: from `load_assets` with the same `config`; see `replicate`.
        config: settings.
        rows: faces in a batch, rounded up to a multiple of the devices; all if not given.
        devices: of this process; all if not given.
        progress: as for `reconstruct`, called for each batch; figures are means.

    Example:
        >>> from jaxface import load_assets  # doctest: +SKIP
        >>> reconstruct_batch([crop_face(photo, points)] * 3, load_assets())  # doctest: +SKIP
    """
    mesh = device_mesh(devices)
    assets = replicate(assets, mesh)
    groups: dict[Hashable, list[int]] = {}
    for index, crop in enumerate(crops):
        groups.setdefault(batch_key(crop), []).append(index)
    results: dict[int, Reconstruction] = {}
    for members in groups.values():
        size = round_up(rows or len(members), mesh.size)
        for start in range(0, len(members), size):
            part = members[start : start + size]
            batch = place(stack([crops[index] for index in part], size), mesh)
            done = reconstruct_crops(batch, assets, config, mesh=mesh, progress=progress)
            results |= zip(part, unstack(done, len(part)), strict=True)
    return [results[index] for index in range(len(crops))]


def reconstruct_crops(
    crop: FaceCrop,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the face of a crop, or the faces of stacked ones: every stage, the database's choice
    and the optimisation included. Host function.

    Without `progress`, and unless the database is on disk, nothing waits for a value.

    Args:
        crop: one, or with a mesh as many as a multiple of its devices along a leading axis.
        assets: from `load_assets` with the same `config`; with a mesh, from `replicate`.
        config: settings.
        mesh: devices over which the faces are spread (`device_mesh`); None for one face.
        progress: as for `reconstruct`; figures of many faces are their means.
    """
    on_event = progress or (lambda stage, info: None)
    on_event("observe", {"state": "start"})
    shared = assets.replace(database=None)
    seen = _over_faces(observe, (0, None, None), mesh)(crop, shared, config)
    if progress:
        on_event("observe", {"state": "end", "note": _observed(seen)})
    return complete_observation(seen, assets, config, mesh=mesh, progress=progress)


def complete_observation(
    seen: Observation,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the complete face, or faces, of what photos show. Host function.

    Args:
        seen: from `observe`, or merged of several photos; stacked if there is a mesh.
        assets: as for `reconstruct_crops`.
        config: settings.
        mesh: as for `reconstruct_crops`.
        progress: as for `reconstruct_crops`.
    """
    on_event = progress or (lambda stage, info: None)
    on_event("infer", {"state": "start"})
    shared = assets.replace(database=None)
    database, axis = assets.database, None
    if isinstance(database, DiskDatabase):
        database, axis = _chosen(seen, database, assets, config, mesh), 0
    axes = (0, axis, None, None)
    result = _over_faces(infer, axes, mesh)(seen, database, shared, config)
    if progress:
        jax.block_until_ready(result)  # weights are there before the texture is
        on_event("infer", {"state": "end", "note": _inferred(result, assets.face_names)})
    if not config.refine:
        return result

    def step(loss: Array, done: float) -> None:
        on_event("refine", {"state": "step", "loss": float(loss), "done": done})

    on_event("refine", {"state": "start"})
    if mesh is None:
        callback = step if progress else None
        result = refine(result, database, shared, config, stepwise=True, callback=callback)
    else:
        result = _over_faces(refine, axes, mesh)(result, database, shared, config)
    if progress:
        loss = float(jnp.mean(jax.block_until_ready(result).synthesis.losses[..., -1]))
        on_event("refine", {"state": "end", "loss": loss})
    return result


def choose_faces(
    seen: UnwrapResult,
    database: DiskDatabase,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
) -> Database:
    """Returns the faces of a database on disk that `infer` is to blend. Host function.

    Those nearest by thumbnail and, if features are cached, of these the nearest by correlation
    distance.

    Args:
        seen: the unwrapped photo of one face; textures are linear RGB.
        database: from `load_assets`, if it holds many faces.
        assets: VGG-16's weights are used, where features are cached.
        config: what is correlated.

    Example:
        >>> chosen = choose_faces(seen.unwrapped, assets.database, assets)  # doctest: +SKIP
        >>> result = infer(seen, chosen, assets)  # doctest: +SKIP
    """
    texture, mask = np.asarray(linear_to_srgb(seen.partial)), np.asarray(seen.skin_mask)
    chosen = database.nearest(texture, mask)
    if database.features is None:
        return database.take(chosen)
    half, full = config.correlation.sides
    cached = database.features.take(chosen, half)
    distances = np.asarray(rank_faces(seen, cached, assets.vgg, config.correlation))
    chosen = chosen[np.sort(np.argsort(distances, kind="stable")[:SHORTLIST])]
    caches = FeatureCaches(half=None, full=database.features.take(chosen, full))
    return database.take(chosen).replace(features=caches)


def device_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh of one axis, `FACES`, over some devices or all of this process."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (FACES,))


def replicate(assets: Assets, mesh: Mesh) -> Assets:
    """Returns the assets with a copy on every device of a mesh.

    Doing so once saves the transfer at every batch. A database on disk stays there.
    """
    return jax.device_put(assets, NamedSharding(mesh, PartitionSpec()))


def place(crops: FaceCrop, mesh: Mesh) -> FaceCrop:
    """Returns stacked crops with their leading axis spread over the devices of a mesh."""
    return jax.device_put(crops, NamedSharding(mesh, PartitionSpec(FACES)))


def batch_key(crop: FaceCrop) -> Hashable:
    """Returns what the faces of one batch have in common: pixels a side, number of landmarks."""
    return crop.srgb.shape[0], crop.landmarks.shape[0]


def round_up(count: int, devices: int) -> int:
    """Returns the least multiple of the number of devices that holds `count` faces."""
    return -(-count // devices) * devices


def stack(crops: Sequence[FaceCrop], rows: int) -> FaceCrop:
    """Returns crops of one key along a leading axis, on the host, the last repeated to `rows`."""
    filled = [*crops, *[crops[-1]] * (rows - len(crops))]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *filled)


def unstack(results: Reconstruction, count: int) -> list[Reconstruction]:
    """Returns the first `count` results of a batch, on the host; waits for them."""
    host = jax.device_get(results)
    return [jax.tree.map(lambda x, index=index: x[index], host) for index in range(count)]


def _over_faces(
    function: Callable[..., Any], axes: tuple[int | None, ...], mesh: Mesh | None
) -> Any:
    """Returns a function of one face as it is, or as one program over the faces of a mesh."""
    return function if mesh is None else _mapped(function, axes, mesh)


@cache
def _mapped(function: Callable[..., Any], axes: tuple[int | None, ...], mesh: Mesh) -> Any:
    """Returns `jit(shard_map(vmap(function)))`.

    A device computes its faces without hearing of the others': no collective is needed, and its
    loops end when its own faces are done.
    """
    specs = tuple(PartitionSpec() if axis is None else PartitionSpec(FACES) for axis in axes)
    rows = jax.vmap(function, in_axes=axes)
    mapped = jax.shard_map(
        rows, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(FACES), check_vma=False
    )
    return jit(mapped)


def _chosen(
    seen: Observation,
    database: DiskDatabase,
    assets: Assets,
    config: ReconstructConfig,
    mesh: Mesh | None,
) -> Database:
    """Returns the faces of a database on disk for one face, or stacked for each of many."""
    if mesh is None:
        return choose_faces(seen.unwrapped, database, assets, config)
    rows = [
        jax.tree.map(lambda leaf, row=row: leaf[row], seen.unwrapped)
        for row in range(len(seen.unwrapped.partial))
    ]
    found = [choose_faces(row, database, assets, config) for row in rows]
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *found)
    return jax.device_put(stacked, NamedSharding(mesh, PartitionSpec(FACES)))


def _observed(seen: Observation) -> str:
    error = 100 * float(jnp.mean(seen.fit.landmark_error))
    fraction = 100 * float(jnp.mean(seen.unwrapped.skin_mask))
    return f"landmarks {error:.2f} % of the eyes' distance, {fraction:.0f} % seen"


def _inferred(result: Reconstruction, names: tuple[str, ...]) -> str:
    weights, faces = np.asarray(result.blend.weights), np.asarray(result.blend.faces)
    if weights.ndim == 2:
        return f"{len(weights)} faces"
    largest = int(weights.argmax())
    name = names[faces[largest]] if names else f"face {faces[largest]}"
    return f"most like {name} ({100 * weights[largest]:.0f} %)"
