"""Whose faces the benchmark shows: a shape and a skin that the pipeline has not seen.

`DatabaseFaces` need nothing but jaxface: each face of the database is judged with itself and its
relatives left out. `SkinFaces` wear MakeHuman's skins at their original resolution, left out of the
database and of the albedo model. `IctFaces` are shapes of ICT-FaceKit in either kind of skin.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np

from jaxface.database import face_names, load_database
from jaxface.errors import InputError
from jaxface.evaluation import scene
from jaxface.evaluation.ict import load_ict, register
from jaxface.evaluation.wrapping import eyeballs, wrap
from jaxface.morphable.model import shape
from jaxface.skins import makehuman, mouth_colours, statistics
from jaxface.types import Assets, Database, FaceModel

_CORNER, _FULL = (360, 1296), 2048  # row and column of the crops in the whole skin
_PAINTED = "special_suit"  # make-up and hair painted on
TRUTH_SIZE = 1024


@dataclass(frozen=True)
class KnownFace:
    """A face whose every parameter is known.

    `vertices` are the default model's, in the canonical UV; `mesh` is what is drawn (vertices,
    triangles, UVs, UV triangles), another topology for ICT.
    """

    name: str
    texture_linear: np.ndarray
    identity: np.ndarray
    vertices: np.ndarray
    mesh: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Faces(Protocol):
    """A source of faces, each with the assets that have not seen it."""

    names: list[str]

    def face(self, name: str) -> KnownFace:
        """Returns a face, the same for the same name."""

    def without(self, assets: Assets, name: str) -> Assets:
        """Returns the assets without a face and its relatives."""


def generator(*words: object) -> np.random.Generator:
    """Returns random numbers that depend on some words alone, not on what ran before."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, words)).encode()))


def family(name: str) -> str:
    """Returns what the names of a skin's relatives have in common.

    A synthetic face is a relative of the skin that it was made from (`synthetic_07_SKIN`); the
    numbered variants of a skin are one person; dark men are all one family.

    Example:
        >>> family("synthetic_07_young_lightskinned_male_2")
        'young_lightskinned_male'
    """
    name = re.sub(r"^[a-z]+_\d+_(?=[a-z])", "", name)
    return "darkskinned_male" if "darkskinned_male" in name else name.rstrip("0123456789_")


def related(name: str, other: str) -> bool:
    """Returns whether two skins have one source."""
    return family(name) == family(other)


def without_relatives(database: Database, names: Sequence[str], name: str) -> Database:
    """Returns the database without a face and its relatives.

    Args:
        database: of faces whose `indices` point into `names`.
        names: of all faces.
        name: of the face.

    Raises:
        InputError: nothing is left to learn from.
    """
    keep = [
        place
        for place, index in enumerate(np.asarray(database.indices))
        if not related(name, names[index])
    ]
    if len(keep) < 2:
        raise InputError(f"Without the relatives of {name} the database has no two faces left.")
    return database.take(jnp.asarray(keep))


def random_shape(model: FaceModel, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random identity that belongs to a name and its vertices, neutral."""
    identity = 0.8 * generator("shape", name).standard_normal(len(model.identity_names))
    flat = jnp.zeros(len(model.expression_names))
    vertices = shape(model, jnp.asarray(identity, jnp.float32), flat)
    return identity, np.asarray(vertices, float)


class DatabaseFaces:
    """The faces of a database, each on a random shape."""

    def __init__(self, model: FaceModel, database: Path | None = None) -> None:
        self.model = model
        self.textures = load_database(database, size=TRUTH_SIZE).textures
        self.everybody = face_names(database)
        # One of each family first, so that a few faces are different people.
        order = generator("order").permutation(len(self.everybody))
        turns: dict[str, int] = {}
        ranked = []
        for index in order:
            name = self.everybody[index]
            turns[family(name)] = turns.get(family(name), 0) + 1
            ranked.append((turns[family(name)], name))
        self.names = [name for _, name in sorted(ranked, key=lambda pair: pair[0])]

    def face(self, name: str) -> KnownFace:
        texture = np.asarray(self.textures[self.everybody.index(name)]) / 255.0
        return on_model(self.model, name, scene.decode_srgb(texture))

    def without(self, assets: Assets, name: str) -> Assets:
        return assets.replace(database=without_relatives(assets.database, assets.face_names, name))


class SkinFaces:
    """MakeHuman's skins at full resolution, out of database and albedo model when judged."""

    def __init__(self, model: FaceModel, folder: Path, package: Path) -> None:
        self.model, self.package = model, package
        self.originals = {skin.name: skin for skin in read_originals(folder, package)}
        names = list(self.originals)
        self.names = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
        self.fine = makehuman.layout(model, TRUTH_SIZE)
        self.small = makehuman.layout(model, model.albedo_mean.shape[0])
        self.samples = smooth_skins(package, self.small)

    def face(self, name: str) -> KnownFace:
        rng = generator("dress", name)
        texture = dress(self.package, self.originals[name], self.fine, rng)
        return on_model(self.model, name, texture)

    def without(self, assets: Assets, name: str) -> Assets:
        model = without_skin(assets.model, name, self.samples, self.small)
        return assets.replace(
            model=model, database=without_relatives(assets.database, assets.face_names, name)
        )


class IctFaces:
    """Random shapes of ICT-FaceKit in the skins of another source.

    The drawn mesh is ICT's; the model fitted to it in 3D stands for the true shape.
    """

    def __init__(self, model: FaceModel, folder: Path, wearers: Faces) -> None:
        self.model, self.wearers = model, wearers
        self.ict = load_ict(folder)
        self.names = [f"ict {name}" for name in wearers.names]

    def face(self, name: str) -> KnownFace:
        """Wrapped face by face: the texture lies where the fitted model has it, so that sliding of
        the fit along the surface is no error."""
        own = self.ict.face(generator("ict", name))
        fitted = register(own, self.ict, self.model, sigma=0.4e-3)
        points = fitted.scale * own @ fitted.rotation.T + fitted.translation
        uv = wrap(points, self.ict.triangles, fitted.vertices, self.model)
        eyes, eye_uv = eyeballs(self.model)
        uvs = np.concatenate([uv, eye_uv])
        return replace(
            self.wearers.face(name.removeprefix("ict ")),
            name=name,
            identity=fitted.identity,
            vertices=fitted.vertices,
            mesh=(
                np.concatenate([points, fitted.vertices]),
                np.concatenate([self.ict.triangles, eyes + len(points)]),
                uvs,
                np.arange(len(uvs)).reshape(-1, 3),
            ),
        )

    def without(self, assets: Assets, name: str) -> Assets:
        return self.wearers.without(assets, name.removeprefix("ict "))


def on_model(model: FaceModel, name: str, texture_linear: np.ndarray) -> KnownFace:
    """Returns a random shape of the model, the same for the same name, in a texture."""
    identity, vertices = random_shape(model, name)
    mesh = (vertices, *(np.asarray(x) for x in (model.triangles, model.uvs, model.uv_triangles)))
    return KnownFace(name, texture_linear, identity, vertices, mesh)


def read_originals(folder: Path, package: Path) -> list[makehuman.Skin]:
    """Returns the skins at full resolution, what lies beside the crops from the small pictures.

    Raises `InputError` if the folder holds none.
    """
    found = []
    small = {skin.name: skin.picture for skin in makehuman.read_skins(package)}
    for file in sorted(folder.glob("*.webp")):
        if _PAINTED in file.name:
            continue
        crop = iio.imread(file)[..., :3].astype(np.float32) / 255
        stem, number = re.fullmatch(r"(\D+)(\d*)", file.stem).groups()
        whole = small[f"{stem}_{number or 1}"]
        picture = np.array(jax.image.resize(whole, (_FULL, _FULL, 3), "linear"))
        row, column = _CORNER
        picture[row : row + crop.shape[0], column : column + crop.shape[1]] = crop
        dark, old = "darkskinned" in file.stem, file.stem.startswith("old")
        found.append(makehuman.Skin(file.stem, dark, old, picture))
    if not found:
        raise InputError(f"--skins {folder} holds no .webp skins.")
    return found


def dress(
    package: Path, skin: makehuman.Skin, where: makehuman.Layout, rng: np.random.Generator
) -> np.ndarray:
    """Returns a skin with brows, eyes and mouth, linear `[T, T, 3]`."""
    linear = scene.decode_srgb(makehuman.resample(skin, where))
    hair = makehuman.brow_density(
        package, makehuman.BROWS[rng.integers(len(makehuman.BROWS))], where
    )
    hair = np.clip(hair, 0, 0.95)[..., None]
    tint = 0.15 if skin.old else 0.03 * rng.uniform(0.4, 1.5)
    linear = linear * (1 - hair) + np.minimum(tint, 0.5 * linear) * hair
    linear = mouth_colours.lay_over(linear, where)
    eyes = where.part("eyes")
    linear[eyes] = scene.decode_srgb(makehuman.paint_eyes(package, "brown", where))[eyes]
    return makehuman.dilate(linear, where)


def without_skin(
    model: FaceModel, name: str, samples: dict[str, np.ndarray], where: makehuman.Layout
) -> FaceModel:
    """Returns the model with an albedo learnt without a skin and its family."""
    count = sum(mode.startswith("skin_") for mode in model.albedo_names)
    everybody = np.concatenate(list(samples.values()))
    kept = np.concatenate([s for other, s in samples.items() if not related(name, other)])
    mean, basis = statistics.principal_components(kept, count)
    own = where.part("eyes", *mouth_colours.PARTS)
    outer = 1 - makehuman.dilate(np.where(own[..., None], 1.0, 0.0), where)
    change = (mean - everybody.mean(0)) * outer
    basis = np.concatenate([basis * outer, np.asarray(model.albedo_basis)[count:]])
    return model.replace(
        albedo_mean=model.albedo_mean + jnp.asarray(change, jnp.float32),
        albedo_basis=jnp.asarray(basis, jnp.float32),
    )


def smooth_skins(package: Path, where: makehuman.Layout) -> dict[str, np.ndarray]:
    """Returns the samples of the albedo model's principal components: each skin, both ways."""
    result = {}
    for skin in makehuman.read_skins(package):
        at = statistics.density(makehuman.resample(skin, where))
        smooth = statistics.blur_on_charts(at, where, where.region.shape[0] / 100)
        result[skin.name] = np.stack([smooth, smooth[:, ::-1]])
    return result
