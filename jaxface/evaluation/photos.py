"""Real photos: landmarks, priors, the round trip, and whether the person is recognised.

python -m jaxface.evaluation.photos PHOTO... [--out FOLDER] [--recogniser dlib_model.dat]

The recogniser is dlib's ResNet (King 2017; PyPI `dlib-bin`, its weights in the sdist of PyPI
`face_recognition_models`), which nothing in jaxface was tuned on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxface.config import ReconstructConfig
from jaxface.errors import DetectionError
from jaxface.export import load_result, write_result
from jaxface.export.preview import render_view
from jaxface.images import Photo, read_photo, to_bytes, write_png
from jaxface.landmarks.detector import detect
from jaxface.loading import load_assets
from jaxface.morphable.surface import similarity
from jaxface.reconstruct import reconstruct
from jaxface.rendering.color import linear_to_srgb
from jaxface.rendering.render import render
from jaxface.rendering.texture import sample_image
from jaxface.types import Assets, Reconstruction

# dlib's template for a padded chip (left eye outer, inner, right eye outer, inner, nose base),
# and the landmarks of the face mesh that stand there.
TEMPLATE = np.array(
    [[0.8596, 0.2135], [0.6461, 0.2290], [0.1206, 0.2137], [0.3341, 0.2291], [0.4901, 0.6278]]
)
LANDMARKS = (263, 362, 33, 133, 2)
CHIP, PADDING = 150, 0.25


class Recogniser:
    """dlib's face descriptor on chips that our own landmarks align."""

    def __init__(self, weights: Path, assets: Assets) -> None:
        import dlib

        self.network = dlib.face_recognition_model_v1(str(weights))
        self.assets = assets

    def __call__(self, image_srgb: np.ndarray) -> np.ndarray:
        """Returns the unit descriptor `[128]` of the largest face."""
        marks = np.asarray(detect(image_srgb, self.assets.networks).landmarks[0])[:, :2]
        goal = (PADDING + TEMPLATE) / (2 * PADDING + 1) * CHIP
        source = np.pad(marks[list(LANDMARKS)], ((0, 0), (0, 1)))
        rotation, scale, shift = similarity(source, np.pad(goal, ((0, 0), (0, 1))))
        x, y = np.meshgrid(np.arange(CHIP) + 0.5, np.arange(CHIP) + 0.5)
        at = np.stack([x, y, 0 * x], axis=-1).reshape(-1, 3)
        place = ((at - shift) @ rotation / scale)[:, :2]
        chip = sample_image(jnp.asarray(image_srgb), jnp.asarray(place, jnp.float32))
        chip = to_bytes(np.asarray(chip)).reshape(CHIP, CHIP, 3)
        descriptor = np.array(self.network.compute_face_descriptor(chip))
        return descriptor / np.linalg.norm(descriptor)


def round_trip(photo: Photo, result: Reconstruction, assets: Assets) -> dict[str, Any]:
    """Returns the PSNR on skin of the result over the photo, and the rendered picture.

    Skin are the pixels whose texel the skin mask keeps. `fitted light` uses the spherical
    harmonics alone, `refined light` the shading that unwrapping separated from the albedo.
    """
    height, width = photo.srgb.shape[:2]
    parameters = result.fit.parameters
    view = (parameters.camera, parameters.lighting, height, width)
    texture = result.synthesis.texture
    mask, _ = render_flat(assets, result, result.unwrapped.skin_mask[..., None].repeat(3, -1), view)
    skin = np.asarray(mask)[..., 0] > 0.9
    image, alpha = render(assets.model, result.fit.vertices, texture, *view)
    plain = np.asarray(linear_to_srgb(image))
    size = texture.shape[0]
    shading = jnp.asarray(result.unwrapped.shading)
    lit, _ = render_flat(assets, result, texture * shading, view)
    refined = np.asarray(linear_to_srgb(lit))
    over = np.where(np.asarray(alpha)[..., None] > 0.5, plain, photo.srgb)
    return {
        "psnr fitted light": psnr(plain[skin], photo.srgb[skin]),
        "psnr refined light": psnr(refined[skin], photo.srgb[skin]),
        "skin pixels": int(skin.sum()),
        "texture": size,
        "picture": np.concatenate([photo.srgb, over], axis=1),
    }


def render_flat(assets: Assets, result: Reconstruction, texture: Any, view: tuple) -> tuple:
    """Returns the texture seen from the photo's camera without any shading."""
    camera, lighting, height, width = view
    white = lighting.replace(coefficients=jnp.zeros((9, 3)).at[0].set(jnp.sqrt(4 * jnp.pi)))
    return render(assets.model, result.fit.vertices, texture, camera, white, height, width)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio, dB, of values 0..1."""
    return float(-10 * np.log10(max(np.mean((a - b) ** 2), 1e-12)))


def evaluate(
    path: Path, assets: Assets, config: ReconstructConfig, out: Path, recogniser: Recogniser | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the figures of one photo and dlib's descriptors; writes its result and pictures."""
    photo = read_photo(path)
    found = detect(photo.srgb, assets.networks)
    result = reconstruct(
        photo.srgb,
        found.landmarks[0],
        assets,
        config,
        blendshapes=found.blendshapes[0],
        focal=photo.focal,
    )
    folder = out / path.stem
    details = {"photo": path.name, "landmark_error_percent": 100 * float(result.fit.landmark_error)}
    write_result(folder, photo=photo, reconstruction=result, model=assets.model, details=details)
    parameters = result.fit.parameters
    trip = round_trip(photo, result, assets)
    write_png(folder / "round_trip.png", trip.pop("picture"))
    stored = load_result(folder)
    views = {
        yaw: render_view(stored, yaw=yaw, pitch=0, neutral=False, light="studio", size=512)
        for yaw in (-90, -45, -30, 0, 30, 45, 90, 180)
    }
    write_png(folder / "views.png", np.concatenate([views[y] for y in (-45, 0, 45, 90, 180)], 1))
    row = {
        "photo": path.stem,
        "landmarks %": 100 * float(result.fit.landmark_error),
        "greatest sigma": float(jnp.abs(parameters.identity).max()),
        "distance m": float(parameters.camera.translation[2]),
        "focal px": float(parameters.camera.focal),
        **trip,
    }
    faces: dict[str, np.ndarray] = {}
    if recogniser:
        faces["photo"] = recogniser(photo.srgb)
        for yaw in (-30, 0, 30):
            try:
                faces[f"{yaw:+d}"] = recogniser(views[yaw])
            except DetectionError:
                faces[f"{yaw:+d}"] = np.full(128, np.nan)
            row[f"cosine {yaw:+d}"] = float(1 - faces["photo"] @ faces[f"{yaw:+d}"])
    return row, faces


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows as Markdown."""
    names = list(rows[0])
    print("\n| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        cells = (f"{x:.3f}" if isinstance(x, float) else str(x) for x in row.values())
        print("| " + " | ".join(cells) + " |")


def confusion(names: list[str], faces: list[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Returns the cosine distance of each front view and photo to every photo."""
    rows = []
    for kind in ("+0", "photo"):
        for name, face in zip(names, faces, strict=True):
            row: dict[str, Any] = {"of": f"{name} {'render' if kind == '+0' else 'photo'}"}
            others = zip(names, faces, strict=True)
            rows.append(row | {other: float(1 - face[kind] @ f["photo"]) for other, f in others})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("out/photos"))
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--method", default="default")
    parser.add_argument("--recogniser", type=Path)
    args = parser.parse_args()
    config = ReconstructConfig.for_quality(args.quality, method=args.method)
    assets = load_assets(config)
    recogniser = Recogniser(args.recogniser, assets) if args.recogniser else None
    rows, faces = [], []
    for path in args.photos:
        row, found = evaluate(path, assets, config, args.out, recogniser)
        rows.append(row)
        faces.append(found)
        print(json.dumps(row), flush=True)
    print_table(rows)
    if recogniser:
        print("\nCosine distance to the photos (another person's is the scale):")
        print_table(confusion([row["photo"] for row in rows], faces))
    (args.out / "photos.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
