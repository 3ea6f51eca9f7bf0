"""Many faces at once: the chain mapped over faces and spread over devices."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import jax
import numpy as np

from jaxface.mapping import Many, face_mesh
from jaxface.pipeline.assets import Assets
from jaxface.pipeline.chain import Progress, run_stages
from jaxface.pipeline.config import ReconstructConfig
from jaxface.pipeline.face import Face
from jaxface.types import Reconstruction


def reconstruct_batch(
    faces: Sequence[Face],
    assets: Assets,
    config: ReconstructConfig = ReconstructConfig(),
    *,
    rows: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
) -> list[Reconstruction]:
    """Returns the reconstructions of faces, in their order, as NumPy arrays.

    The same stages as `reconstruct`, mapped over the faces and spread over the devices. A face's
    result does not depend on its neighbours; it differs from its single run by what another order
    of sums makes of rounding. Faces of one `kind` share a batch; the last batch is filled up with
    its last face. Programs are compiled once per kind, whatever the number of faces.

    Args:
        faces: from `prepare_face`.
        assets: from `load_assets` with the same `config`; see `prepare_assets`.
        config: static settings.
        rows: faces in a batch, rounded up to a multiple of the devices; all if not given.
        devices: of this process; all if not given.
        progress: as for `reconstruct`, called for each batch; figures are means.

    Example:
        >>> from jaxface import load_assets  # doctest: +SKIP
        >>> reconstruct_batch([prepare_face(photo, points)] * 3, load_assets())  # doctest: +SKIP
    """
    run = Many(face_mesh(devices))
    assets = prepare_assets(assets, devices)
    by_kind: dict[Hashable, list[int]] = {}
    for index, face in enumerate(faces):
        by_kind.setdefault(kind(face), []).append(index)
    results: dict[int, Reconstruction] = {}
    for members in by_kind.values():
        size = round_up(rows or len(members), run.mesh.size)
        for start in range(0, len(members), size):
            part = members[start : start + size]
            batch = run.place(stack([faces[index] for index in part], size))
            done, names = run_stages(batch, assets, config, run=run, progress=progress)
            results |= zip(part, unstack(done, names, len(part)), strict=True)
    return [results[index] for index in range(len(faces))]


def prepare_assets(assets: Assets, devices: Sequence[jax.Device] | None = None) -> Assets:
    """Returns the assets with a copy on every device, for `reconstruct_batch`.

    Doing so once saves the transfer at every batch. A large database stays on disk.
    """
    return Many(face_mesh(devices)).place_shared(assets)


def kind(face: Face) -> Hashable:
    """Returns what faces of one batch have in common: pixels a side, number of landmarks."""
    return face.srgb.shape[0], face.landmarks.shape[0]


def round_up(count: int, devices: int) -> int:
    """Returns the least multiple of the number of devices that holds `count` faces."""
    return -(-count // devices) * devices


def stack(faces: Sequence[Face], rows: int) -> Face:
    """Returns faces of one kind along a leading axis, the last one repeated up to `rows`."""
    filled = [*faces, *[faces[-1]] * (rows - len(faces))]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *filled)


def unstack(
    results: Reconstruction, names: Sequence[tuple[str, ...]], count: int
) -> list[Reconstruction]:
    """Returns the first `count` results of a batch, on the host; waits for them."""
    host = jax.device_get(results)

    def row(index: int) -> Reconstruction:
        own = jax.tree.map(lambda x: x[index], host)
        return own.replace(blend=own.blend.replace(faces=names[index]))

    return [row(index) for index in range(count)]
