"""The interactive preview: one self-contained HTML file with face and three.js. Host code."""

from __future__ import annotations

import base64
import html
import re
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from jaxface import assets
from jaxface.images import to_bytes

_HERE = Path(__file__).parent


def viewer_page(title: str, glb: bytes, smooth_srgb: np.ndarray) -> str:
    """Returns the HTML page, which needs no network and no server.

    Args:
        title: the photo's name.
        glb: the face, from `encode_glb`.
        smooth_srgb: the low-frequency albedo `[T, T, 3]`, an alternative texture, 0..1.
    """
    stream = BytesIO()
    Image.fromarray(to_bytes(smooth_srgb)).save(stream, "jpeg", quality=88)
    parts = {
        "TITLE": html.escape(title),
        "FACE": base64.b64encode(glb).decode(),
        "SMOOTH": base64.b64encode(stream.getvalue()).decode(),
        "THREE": assets.path("three.js").read_text(),
        "CODE": (_HERE / "viewer.js").read_text(),
    }
    page = (_HERE / "viewer.html").read_text()
    # In one pass, since inserted text may contain placeholders.
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], page)
