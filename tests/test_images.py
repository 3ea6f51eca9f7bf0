"""Every kind of picture that users bring: it works, or one clear sentence says why not."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxface.errors import InputError
from jaxface.images import MAX_SIDE, read_photo, write_png

COLOR = (200, 120, 60)


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    image = Image.new("RGB", size, COLOR)
    image.paste((10, 20, 30), (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tiff", "bmp", "gif"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    picture().save(path)
    photo = read_photo(path)
    assert photo.srgb.shape == (48, 64, 3) and photo.srgb.dtype == np.float32
    assert np.abs(photo.srgb[24, 50] * 255 - COLOR).max() < 12


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "LA", "RGBA", "1"])
def test_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture(mode).save(path)
    photo = read_photo(path)
    assert photo.srgb.shape == (48, 64, 3)
    if mode in ("CMYK", "P", "RGBA"):
        assert np.abs(photo.srgb[24, 50] * 255 - COLOR).max() < 25


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 32768, np.uint16)).save(tmp_path / "a.png")
    assert np.allclose(read_photo(tmp_path / "a.png").srgb, 0.5, atol=0.01)


def test_alpha_goes_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.allclose(read_photo(tmp_path / "a.png").srgb, 1.0)


def test_animation_gives_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_photo(tmp_path / "a.gif").srgb[0, 0].tolist() == [1, 0, 0]


def test_exif_turns_the_photo_and_gives_the_focal_length(tmp_path: Path) -> None:
    image = picture()
    exif = image.getexif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 50
    image.save(tmp_path / "a.jpg", exif=exif)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.srgb.shape == (64, 48, 3)
    assert photo.focal == pytest.approx(50 / 43.2666 * np.hypot(64, 48), rel=1e-4)
    picture().save(tmp_path / "b.png")
    assert read_photo(tmp_path / "b.png").focal is None


def test_colour_profiles_are_applied(tmp_path: Path) -> None:
    """A profile whose red and blue primaries are swapped turns red into blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"tmp.").replace(b"bXYZ", b"rXYZ").replace(b"tmp.", b"bXYZ")
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    for name, icc, expected in (
        ("same", profile, (1, 0, 0)),
        ("swapped", swapped, (0, 0, 1)),
        ("damaged", profile[:200], (1, 0, 0)),
    ):
        red.save(tmp_path / f"{name}.png", icc_profile=icc)
        color = read_photo(tmp_path / f"{name}.png").srgb[5, 5]
        assert np.allclose(color, expected, atol=0.02), name


def test_large_photos_are_scaled_down(tmp_path: Path) -> None:
    picture(size=(5000, 100)).save(tmp_path / "a.png")
    assert max(read_photo(tmp_path / "a.png").srgb.shape) == MAX_SIDE


def huge_png(path: Path) -> None:
    """A valid header of 20,000 x 20,000 pixels; the pixels would take 1.2 GB."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    body += struct.pack(">I", 4096) + b"IDAT" + zlib.compress(bytes(4000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def bad(kind: str, folder: Path) -> Path:
    path = folder / "bad.jpg"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        picture(size=(400, 400)).save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "tiny":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        huge_png(path)
    elif kind == "heic":
        path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("missing", "no file"),
        ("text", "not a picture"),
        ("empty", "not a picture"),
        ("truncated", "damaged"),
        ("tiny", "too small"),
        ("folder", "folder"),
        ("huge", "million pixels"),
        ("heic", "HEIC"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, kind: str, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        read_photo(bad(kind, tmp_path))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_png_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.random((40, 40, 3))
    write_png(tmp_path / "a.png", image)
    assert np.abs(read_photo(tmp_path / "a.png").srgb - image).max() <= 0.5 / 255 + 1e-6
