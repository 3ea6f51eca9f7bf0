"""How much of human skin the albedo model covers, as a picture and individual typology angles.

python -m jaxface.evaluation.skin_coverage PICTURE.png

The individual typology angle (Chardon et al. 1991) is atan((L* - 50) / b*) of CIELAB: above 55
degrees very light, 41 to 55 light, 28 to 41 intermediate, 10 to 28 tan, -30 to 10 brown, below
-30 dark.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxface.evaluation.color_difference import typology_angle
from jaxface.images import write_png
from jaxface.morphable.albedo import albedo_texture
from jaxface.morphable.files import load_model
from jaxface.morphable.texels import texel_map
from jaxface.rendering.color import linear_to_srgb
from jaxface.types import FaceModel

_CLASSES = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"))
_MELANIN = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
_HAEMOGLOBIN = (-2.0, 0.0, 2.0)


def skin_class(angle: float) -> str:
    """Returns the name of the class of a typology angle."""
    return next((name for limit, name in _CLASSES if angle > limit), "dark")


def face_angle(model: FaceModel, linear: np.ndarray) -> float:
    """Returns the typology angle of the mean colour of a texture's cheeks and forehead."""
    texels = texel_map(model, linear.shape[0])
    skin = np.asarray(texels.region_ids) == model.region_names.index("skin")
    place = np.asarray(model.mean)[np.asarray(texels.vertex_ids[..., 0])]
    front = skin & np.asarray(texels.mask) & (place[..., 2] > -0.02)
    return float(typology_angle(linear[front].mean(0)))


def coverage(model: FaceModel, size: int = 256) -> tuple[np.ndarray, str]:
    """Returns a sheet of sRGB textures (melanin across, haemoglobin down) and a Markdown table."""
    rows, lines = [], ["| haemoglobin \\ melanin | " + " | ".join(f"{m:+.0f}" for m in _MELANIN)]
    lines[0] += " |"
    lines.append("| --- " * (len(_MELANIN) + 1) + "|")
    names = list(model.albedo_names)
    for blood in _HAEMOGLOBIN:
        cells, words = [], [f"{blood:+.0f}"]
        for pigment in _MELANIN:
            coefficients = np.zeros(len(names), np.float32)
            coefficients[names.index("melanin")] = pigment
            coefficients[names.index("haemoglobin")] = blood
            texture = albedo_texture(model, jnp.asarray(coefficients), size)
            cells.append(np.asarray(linear_to_srgb(jnp.clip(texture, 0, 1))))
            angle = face_angle(model, np.asarray(texture))
            words.append(f"{angle:.0f} ({skin_class(angle)})")
        rows.append(np.concatenate(cells, axis=1))
        lines.append("| " + " | ".join(words) + " |")
    return np.concatenate(rows), "\n".join(lines)


def main() -> None:
    """Command line: the path of the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    sheet, table = coverage(load_model())
    write_png(parser.parse_args().picture, sheet)
    print(table)


if __name__ == "__main__":
    main()
