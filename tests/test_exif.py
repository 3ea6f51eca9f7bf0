"""EXIF's focal length: used where it is the file's, dropped where it may not be."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from jaxface.images import read_photo

FOCAL, WIDTH, HEIGHT, ORIENTATION, CAMERA = 0xA405, 0xA002, 0xA003, 0x0112, 0x8769
PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "astronaut.jpg"


def focal_of(
    path: Path,
    size: tuple[int, int],
    *,
    focal: Any = 50,
    frame: Sequence[int] = (),
) -> float | None:
    """Returns the focal length, in mm for 36 x 24 mm, read from a file with that EXIF."""
    image = Image.new("RGB", size, (90, 120, 60))
    exif = image.getexif()
    camera = exif.get_ifd(CAMERA)
    camera[FOCAL] = focal
    if frame:
        camera[WIDTH], camera[HEIGHT] = frame
    image.save(path, exif=exif)
    photo = read_photo(path)
    return None if photo.focal is None else photo.focal / np.hypot(*size) * 43.2666


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        ((400, 300), ()),
        ((400, 300), (400, 300)),
        ((400, 300), (4032, 3024)),  # scaled down
        ((300, 400), (4032, 3024)),  # turned by an editor
        ((400, 267), (6000, 4000)),
        ((320, 180), (1920, 1080)),
        ((1024, 683), (5472, 3648)),
        ((347, 260), (4624, 3472)),
    ],
)
def test_whole_frames_keep_their_focal_length(
    tmp_path: Path, size: tuple[int, int], frame: Sequence[int]
) -> None:
    assert focal_of(tmp_path / "a.jpg", size, frame=frame) == pytest.approx(50, rel=1e-4)


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        ((300, 300), (4032, 3024)),
        ((400, 300), (6000, 4000)),
        ((300, 300), (300, 300)),  # the editor wrote the size anew
        ((240, 300), (240, 300)),
        ((300, 300), ()),
        ((400, 296), (4032, 3024)),
    ],
)
def test_crops_lose_it(tmp_path: Path, size: tuple[int, int], frame: Sequence[int]) -> None:
    assert focal_of(tmp_path / "a.jpg", size, frame=frame) is None


RATIONAL = TiffImagePlugin.IFDRational


@pytest.mark.parametrize("focal", [0, 65535, 3, "50 mm", (50, 60), RATIONAL(1, 0), RATIONAL(0, 0)])
def test_nonsense_is_dropped(tmp_path: Path, focal: Any) -> None:
    assert focal_of(tmp_path / "a.jpg", (400, 300), focal=focal) is None


@pytest.mark.parametrize(("part", "kept"), [(1.0, True), (0.6, False)])
@pytest.mark.parametrize("aspect", [(4, 3), (3, 2)])
def test_a_crop_of_the_frame_s_aspect_shows_by_its_thumbnail(
    tmp_path: Path, aspect: tuple[int, int], part: float, kept: bool
) -> None:
    """With black bars beside the thumbnail, as cameras write it for 3:2."""
    width, height = 480, 480 * aspect[1] // aspect[0]
    whole = Image.open(PHOTO).convert("RGB").resize((512, 512)).crop((16, 0, 16 + width, height))
    thumbnail = Image.new("RGB", (160, 120))
    inside = whole.resize((160, 160 * aspect[1] // aspect[0]))
    thumbnail.paste(inside, (0, (120 - inside.height) // 2))
    cut = (int(width * (1 - part)), int(height * (1 - part)))
    image = whole.crop((*cut, width, height)).resize((width, height))
    stream = BytesIO()
    thumbnail.save(stream, "JPEG")
    path, data = tmp_path / "a.jpg", stream.getvalue()
    # EXIF by hand: Pillow writes no thumbnail.
    entries = [
        tiff(0x8769, 4, 26),
        *(tiff(FOCAL, 3, 50), tiff(WIDTH, 4, 4 * width), tiff(HEIGHT, 4, 4 * height)),
        *(tiff(0x0103, 3, 6), tiff(0x0201, 4, 110), tiff(0x0202, 4, len(data))),
    ]
    head = b"II*\0\x08\0\0\0" + b"\x01\0" + entries[0] + (68).to_bytes(4, "little")
    camera = b"\x03\0" + b"".join(sorted(entries[1:4])) + bytes(4)
    second = b"\x03\0" + b"".join(entries[4:]) + bytes(4)
    exif = b"Exif\0\0" + head + camera + second + data
    assert len(head) == 26 and len(head + camera) == 68 and len(head + camera + second) == 110
    image.save(path, exif=exif)
    assert (read_photo(path).focal is not None) == kept


def tiff(tag: int, kind: int, value: int) -> bytes:
    """Returns a little-endian entry of one number: kind 3 is 16 bits, 4 is 32."""
    start = tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
    return start + value.to_bytes(4, "little")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif", "heic"])
def test_photos_are_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """As the orientation's definition: where the stored first row and column are shown."""
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image = Image.open(PHOTO).convert("RGB").resize((40, 60))
    exif, path = Image.Exif(), tmp_path / f"a.{suffix}"
    exif[ORIENTATION] = orientation
    image.save(path, exif=exif.tobytes(), quality=95)
    stored = np.asarray(image, np.float32) / 255
    stored = stored.swapaxes(0, 1) if orientation > 4 else stored
    down, right = [(1, 1), (1, -1), (-1, -1), (-1, 1)][(orientation - 1) % 4]
    shown = read_photo(path).srgb
    assert shown.shape == stored.shape
    assert 255 * np.abs(shown - stored[::down, ::right]).mean() < 6


@pytest.mark.parametrize("length", [0, 7, 9, 20, 30])
def test_damaged_exif_does_not_matter(tmp_path: Path, length: int) -> None:
    image = Image.new("RGB", (64, 48), (200, 120, 60))
    exif = image.getexif()
    exif[ORIENTATION], exif[0x010F] = 6, "maker"
    exif.get_ifd(CAMERA)[FOCAL] = 50
    image.save(tmp_path / "a.jpg", exif=exif.tobytes()[:length] + b"\xff" * 40)
    assert sorted(read_photo(tmp_path / "a.jpg").srgb.shape) == [3, 48, 64]
