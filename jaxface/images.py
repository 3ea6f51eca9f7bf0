"""Photos and textures from and to files. Host code.

Whatever a camera, an editor or the web makes becomes sRGB `[H, W, 3]` float32 in 0..1, or raises
`InputError` with one sentence.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from jaxface.errors import InputError

MAX_PIXELS = 100_000_000
MAX_SIDE = 4096
MIN_SIDE = 32
EXIF_IFD, FOCAL_35MM = 0x8769, 0xA405
DIAGONAL_35MM = 43.2666  # of the 36 x 24 mm frame


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        srgb: `[H, W, 3]`, float32, 0..1.
        focal: focal length in pixels, from EXIF, or None.
        name: of the file, without its suffix.
    """

    srgb: np.ndarray
    focal: float | None
    name: str


def read_photo(path: str | Path) -> Photo:
    """Returns a photo: upright (EXIF applied), opaque (on white), at most 4,096 pixels a side.

    Args:
        path: JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF; of an animation the first frame.

    Raises:
        InputError: there is no such file, it is no picture, is damaged, too large or too small.

    Example:
        >>> read_photo("examples/photos/astronaut.jpg").srgb.shape
        (512, 512, 3)
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a photo in it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked or mended here
            with Image.open(path) as image:
                return _decode(image, path)
    except UnidentifiedImageError:
        raise InputError(_unreadable(path)) from None
    except Image.DecompressionBombError:
        raise InputError(_too_large(path)) from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"{path} is damaged or cut off ({error}); save it again.") from None


def _too_large(path: Path) -> str:
    return f"{path} has more than {MAX_PIXELS // 1_000_000} million pixels; scale it down first."


def _unreadable(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return f"{path} is a HEIC photo, which is not supported; convert it to JPEG first."
    return f"{path} is not a picture that can be read; give a JPEG, PNG, WebP or AVIF file."


def _decode(image: Image.Image, path: Path) -> Photo:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path))
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{path} is {width} x {height} pixels, too small to hold a face.")
    focal35 = image.getexif().get_ifd(EXIF_IFD).get(FOCAL_35MM)
    image.seek(0)
    image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # JPEG decodes at a fraction of its size
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(grey.max(), 1e-9)
        image = Image.fromarray(np.uint8(np.clip(grey / top, 0, 1) * 255 + 0.5))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = _to_srgb(image, profile)
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    focal = None
    if focal35:
        focal = float(focal35) / DIAGONAL_35MM * float(np.hypot(*image.size))
    return Photo(np.asarray(image, np.float32) / 255.0, focal, path.stem)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Phones write Display P3, cameras Adobe RGB: their colours are other colours in sRGB."""
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):  # a damaged profile: as if there were none
            pass
    return image.convert("RGB")


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Returns an image 0..1 (grey or colour, already sRGB) as 8 bit."""
    values = np.clip(np.nan_to_num(np.asarray(image)), 0.0, 1.0)
    return (values * 255.0 + 0.5).astype(np.uint8)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes an image 0..1 as an 8-bit PNG; colours must be sRGB already."""
    Image.fromarray(to_bytes(image)).save(path, compress_level=4)
