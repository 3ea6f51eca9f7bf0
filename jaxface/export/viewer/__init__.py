"""The interactive preview: one HTML file that holds the face, three.js and all else. Host code."""

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
    """Returns the page: it needs no network and no server.

    Args:
        title: the photo's name.
        glb: the face, from `encode_glb`.
        smooth_srgb: the low-frequency albedo, another texture to look at.
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
    # In one pass, since what is put in may look like a placeholder.
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], page)
