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
from jaxface.infer import SHORTLIST, face_distances, infer
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
"""Name of the device mesh's only axis. In this module a mesh is a device mesh."""


def reconstruct_face(
    crop: FaceCrop, assets: Assets, config: ReconstructConfig = ReconstructConfig()
) -> Reconstruction:
    """Returns the complete textured face of a crop: `infer` after `observe`.

    Pure, unbatched: works under `jit`, `vmap`, `grad` and `eval_shape`. Differentiable in the
    floating-point leaves of the crop, the assets and the config, as those two are. The database
    must be in memory. `config.refine` is ignored: call `refine` on the result. Saito et al. (CVPR
    2017).

    Args:
        crop: from `crop_face`; sRGB, landmarks in pixels of the crop.
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
    """Returns the complete textured face of a photo.

    Host function (runs Python and NumPy; not for `jit`) around the pure stages.

    Args:
        photo_srgb: `[H, W, 3]`, 0..1.
        landmarks: 478, 468 or 68 points in pixels, from `detect` or the user; NaN where one is
            missing.
        assets: from `load_assets` with the same `config`.
        config: settings.
        blendshapes: `Detection.blendshapes`, 0..1, the expression from which the fit starts.
        focal: focal length in pixels, if it is known.
        progress: called with the stage's name (`observe`, `infer`, `refine`) and
            `{"state": "start" | "step" | "end", ...}`.

    Raises:
        InputError: there are not 478, 468 or 68 landmarks.

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

    The stages of `reconstruct`, vectorised over the faces and sharded over the devices. A face's
    result does not depend on the others of its batch; it differs from that of a single run by
    rounding alone (another order of sums). Faces of one `batch_key` share batches; the last batch
    is padded with copies of its last face. Programs are compiled once per key and batch size.

    Args:
        crops: from `crop_face`.
        assets: from `load_assets` with the same `config`; see `replicate`.
        config: settings.
        rows: faces in a batch, rounded up to a multiple of the number of devices; all if not given.
        devices: of this process; all if not given.
        progress: as for `reconstruct`, called for each batch with means over its faces; "refine"
            has no "step" events.

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
    crops: FaceCrop,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the face of one crop, or the faces of stacked crops: every stage, with the selection
    from a database on disk and `refine` where the config asks for it. Host function.

    No host synchronisation (asynchronous dispatch), unless there is `progress` or the database is
    on disk.

    Args:
        crops: without a mesh, one crop; with a mesh, stacked crops whose number is a multiple of
            the number of devices.
        assets: from `load_assets` with the same `config`; with a mesh, from `replicate`.
        config: settings.
        mesh: device mesh (`device_mesh`) over whose devices the faces are sharded; None for one
            face.
        progress: as for `reconstruct`. With a mesh, landmark error, visible fraction and loss are
            means over the faces, and "refine" has no "step" events.
    """
    on_event = progress or (lambda stage, info: None)
    on_event("observe", {"state": "start"})
    shared = assets.replace(database=None)
    seen = _map_over_faces(observe, (0, None, None), mesh)(crops, shared, config)
    if progress:
        on_event("observe", {"state": "end", "note": _observation_note(seen)})
    return complete_observation(seen, assets, config, mesh=mesh, progress=progress)


def complete_observation(
    seen: Observation,
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    mesh: Mesh | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Returns the complete face, or faces, of observations: `infer`, `refine`. Host function.

    Args:
        seen: from `observe`, or merged from several photos; stacked if there is a mesh.
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
        database, axis = _select_faces_from_disk(seen, database, assets, config, mesh), 0
    axes = (0, axis, None, None)
    result = _map_over_faces(infer, axes, mesh)(seen, database, shared, config)
    if progress:
        jax.block_until_ready(result)  # the note alone would wait for the weights, not the texture
        on_event("infer", {"state": "end", "note": _inference_note(result, assets.face_names)})
    if not config.refine:
        return result

    def step(loss: Array, done: float) -> None:
        on_event("refine", {"state": "step", "loss": float(loss), "done": done})

    on_event("refine", {"state": "start"})
    if mesh is None:
        callback = step if progress else None
        result = refine(result, database, shared, config, stepwise=True, callback=callback)
    else:
        result = _map_over_faces(refine, axes, mesh)(result, database, shared, config)
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
    """Returns the faces of a database on disk that `infer` blends. Host function.

    The 64 nearest by thumbnail (`DiskDatabase.nearest`); if features are cached, of these the 12
    (`SHORTLIST`) nearest by correlation distance.

    Args:
        seen: the unwrapped photo of one face; textures are linear RGB.
        database: from `load_assets`, if it holds many faces.
        assets: whose VGG-16 weights are used, if features are cached.
        config: whose `correlation` is used, if features are cached.

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
    distances = np.asarray(face_distances(seen, cached, assets.vgg, config.correlation))
    chosen = chosen[np.sort(np.argsort(distances, kind="stable")[:SHORTLIST])]
    caches = FeatureCaches(half=None, full=database.features.take(chosen, full))
    return database.take(chosen).replace(features=caches)


def device_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a device mesh of one axis, `FACES`, over some devices or all of this process."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (FACES,))


def replicate(assets: Assets, mesh: Mesh) -> Assets:
    """Returns the assets, replicated on every device of a mesh; a database on disk stays there.

    Done once, it saves the transfer at every batch.
    """
    return jax.device_put(assets, NamedSharding(mesh, PartitionSpec()))


def place(crops: FaceCrop, mesh: Mesh) -> FaceCrop:
    """Returns stacked crops with their leading axis sharded over the devices of a mesh."""
    return jax.device_put(crops, NamedSharding(mesh, PartitionSpec(FACES)))


def batch_key(crop: FaceCrop) -> Hashable:
    """Returns the shapes that the faces of a batch share: pixels a side, number of landmarks."""
    return crop.srgb.shape[0], crop.landmarks.shape[0]


def round_up(count: int, devices: int) -> int:
    """Returns the least multiple of the number of devices that holds `count` faces."""
    return -(-count // devices) * devices


def stack(crops: Sequence[FaceCrop], rows: int) -> FaceCrop:
    """Returns crops of one key along a leading axis, on the host, the last repeated to `rows`."""
    filled = [*crops, *[crops[-1]] * (rows - len(crops))]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *filled)


def unstack(results: Reconstruction, count: int) -> list[Reconstruction]:
    """Returns the first `count` results of a batch as NumPy arrays; waits for them."""
    host = jax.device_get(results)
    return [jax.tree.map(lambda x, index=index: x[index], host) for index in range(count)]


def _map_over_faces(
    function: Callable[..., Any], axes: tuple[int | None, ...], mesh: Mesh | None
) -> Any:
    """Returns a function of one face unchanged without a mesh, else its `_sharded_vmap`."""
    return function if mesh is None else _sharded_vmap(function, axes, mesh)


@cache
def _sharded_vmap(function: Callable[..., Any], axes: tuple[int | None, ...], mesh: Mesh) -> Any:
    """Returns `jit(shard_map(vmap(function)))`; `axes` as `in_axes`: 0 is sharded, None replicated.

    Devices compute their faces independently: the program holds no collective, and each device's
    loops end when its own faces have converged. Several simulated devices of a CPU do their faces
    one after another: batched factorizations wait there for threads that the other devices hold.
    """
    specs = tuple(PartitionSpec() if axis is None else PartitionSpec(FACES) for axis in axes)
    simulated = mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"
    batched = _in_turn(function, axes) if simulated else jax.vmap(function, in_axes=axes)
    sharded = jax.shard_map(
        batched, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(FACES), check_vma=False
    )
    return jit(sharded)


def _in_turn(function: Callable[..., Any], axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """Returns the same as `jax.vmap(function, in_axes=axes)` (0 or None), a row after another."""

    def rows(*arguments: Any) -> Any:
        def row(mapped: tuple[Any, ...]) -> Any:
            remaining = iter(mapped)
            chosen = [
                argument if axis is None else next(remaining)
                for argument, axis in zip(arguments, axes, strict=True)
            ]
            return function(*chosen)

        pairs = zip(arguments, axes, strict=True)
        return jax.lax.map(row, tuple(argument for argument, axis in pairs if axis is not None))

    return rows


def _select_faces_from_disk(
    seen: Observation,
    database: DiskDatabase,
    assets: Assets,
    config: ReconstructConfig,
    mesh: Mesh | None,
) -> Database:
    """Returns `choose_faces` of one observation, or, with a mesh, stacked of each and sharded."""
    if mesh is None:
        return choose_faces(seen.unwrapped, database, assets, config)
    rows = [
        jax.tree.map(lambda leaf, row=row: leaf[row], seen.unwrapped)
        for row in range(len(seen.unwrapped.partial))
    ]
    found = [choose_faces(row, database, assets, config) for row in rows]
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *found)
    return jax.device_put(stacked, NamedSharding(mesh, PartitionSpec(FACES)))


def _observation_note(seen: Observation) -> str:
    """Returns the note for `progress` at the end of "observe"; of many faces, means."""
    error = 100 * float(jnp.mean(seen.fit.landmark_error))
    fraction = 100 * float(jnp.mean(seen.unwrapped.skin_mask))
    return f"landmarks {error:.2f} % of the eyes' distance, {fraction:.0f} % seen"


def _inference_note(result: Reconstruction, names: tuple[str, ...]) -> str:
    """Returns the note for `progress` at the end of "infer"."""
    weights, faces = np.asarray(result.blend.weights), np.asarray(result.blend.faces)
    if weights.ndim == 2:
        return f"{len(weights)} faces"
    largest = int(weights.argmax())
    name = names[faces[largest]] if names else f"face {faces[largest]}"
    return f"most like {name} ({100 * weights[largest]:.0f} %)"
