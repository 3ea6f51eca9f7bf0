"""Photos and textures from and to files. Host code.

Whatever a camera, an editor or the web makes becomes sRGB `[H, W, 3]` float32 in 0..1, or raises
`InputError` with one sentence.
"""

from __future__ import annotations

import functools
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from jaxface.errors import InputError
from jaxface.exif import Exif, focal_in_diagonals, read_exif, upright
from jaxface.names import printable
from jaxface.profiles import Codes, to_srgb

MAX_PIXELS = 100_000_000
MAX_SIDE = 4096
MIN_SIDE = 32
FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP", "DIB", "JPEG2000"),
    *("PPM", "TGA"),
)
"""Pillow's names of the formats that are read, HEIF if pillow-heif is installed."""
_SRGB_CODE, _SRGB_TRANSFER, _SRGB_POWER = 1, 13, 0.45455  # of H.273, and PNG's approximation
_FILM = "is a film; --video reads films"
# Kinds of files that are recognised and not read, by what they begin with.
_OTHERS = {
    b"8BPS": "is a Photoshop file; export it as JPEG or PNG",
    b"%PDF": "is a PDF; export the photo in it as JPEG or PNG",
    b"II*\0": "is a TIFF of a kind that is not read, such as a camera's raw file or one of "
    "floating-point numbers; export it as JPEG or as TIFF of 8 bits",
    b"\x76\x2f\x31\x01": "is an OpenEXR file, whose light is not that of a photo; export it as "
    "PNG in sRGB",
    b"#?RA": "is a Radiance file, whose light is not that of a photo; export it as PNG in sRGB",
    b"<svg": "is a drawing; give a photo",
    b"<?xm": "is a text, not a picture; give a photo",
    b"<!DO": "is a web page, not a picture; save the photo in it",
    b"<!do": "is a web page, not a picture; save the photo in it",
    b"<htm": "is a web page, not a picture; save the photo in it",
    b"PK\3\4": "is an archive; unpack the photos in it",
    b"\x1aE\xdf\xa3": _FILM,
    b"FUJI": "is a camera's raw file; export it as JPEG",
    b"\xff\x0a": "is a JPEG XL picture; convert it to JPEG or PNG",
    b"\0\0\0\x0cJXL ": "is a JPEG XL picture; convert it to JPEG or PNG",
}
_OTHERS[b"MM\0*"] = _OTHERS[b"II*\0"]
_BITMAPS = ("BMP", "DIB", "TGA")  # which many programs write with 32 bits and an alpha of zero
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, LookupError, struct.error)
"""What decoders raise on damaged files."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Tags of TIFF.
REDUCED_RESOLUTION, BITS_PER_SAMPLE, PLANAR_CONFIGURATION, DNG_VERSION = 254, 258, 284, 50706


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


@functools.cache
def readable() -> dict[str, str]:
    """Returns the suffixes of files that `read_photo` reads, in lower case, with their formats.

    Example:
        >>> readable()[".jpg"]
        'JPEG'
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    known = Image.registered_extensions()
    return {end: name for end, name in known.items() if name in FORMATS}


def read_photo(path: str | Path) -> Photo:
    """Returns a photo: upright (EXIF applied), opaque (on white), at most 4,096 pixels a side.

    Colour profiles are applied in every mode. HDR (PQ, HLG) is brought into sRGB's range, see
    `profiles.from_codes`. Values of 16 bits that use 10, 12 or 14 of them are stretched.

    Args:
        path: a file in one of `FORMATS`; of several pictures in it the first, of HEIF the primary.

    Raises:
        InputError: there is no such file, it is no picture, is damaged, too large or too small.

    Example:
        >>> read_photo("examples/photos/astronaut.jpg").srgb.shape
        (512, 512, 3)
    """
    path = Path(path)
    check_file(path)
    readable()  # registers what is installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked or mended here
            formats = [name for name in FORMATS if name in Image.OPEN]
            # From a stream: of a path Pillow maps TIFFs into memory, and scrambles lying ones.
            with open(path, "rb") as stream, Image.open(stream, formats=formats) as image:
                return _decode(image, path)
    except UnidentifiedImageError:
        raise InputError(_unreadable(path)) from None
    except Image.DecompressionBombError:
        raise InputError(_too_large(path)) from None
    except PermissionError:
        raise InputError(f"{path} may not be read; check its permissions.") from None
    except DAMAGE as error:
        raise InputError(f"{path} is damaged or cut off ({error}); save it again.") from None


def check_file(path: Path) -> None:
    """Raises `InputError` unless a path is that of a file: to read a pipe may take for ever."""
    if not path.exists():
        raise InputError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it.")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device; save it to a file first.")


def _too_large(path: Path) -> str:
    return f"{path} has more than {MAX_PIXELS // 1_000_000} million pixels; scale it down first."


def _unreadable(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(12)
    if not head:
        return f"{path} is empty; save the photo again."
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        if "HEIF" not in Image.OPEN:
            return f"{path} is a HEIC photo: pip install 'jaxface[heic]', or convert it to JPEG."
        return f"{path} is a HEIC photo that is damaged or of an unknown kind; convert it to JPEG."
    if head[4:12] == b"ftypcrx ":
        return f"{path} is a camera's raw file; export it as JPEG."
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis"):
        return f"{path} {_FILM}."
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return f"{path} {_FILM}."
    for start, what in _OTHERS.items():
        if head.startswith(start):
            return f"{path} {what}."
    return f"{path} is not a picture that can be read; give a JPEG, PNG, WebP or AVIF file."


def _decode(image: ImageFile.ImageFile, path: Path) -> Photo:
    size = image.size
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(_too_large(path))
    if min(size) < MIN_SIDE:
        raise InputError(f"{path} is {size[0]} x {size[1]} pixels, too small to hold a face.")
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if DNG_VERSION in tags or tags.get(REDUCED_RESOLUTION, 0) & 1:
            raise InputError(f"{path} is a camera's raw file; export it as JPEG.")
        if tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8:
            # Pillow would scramble it.
            raise InputError(f"{path} has a plane of 16 bits for each colour; save it with 8 bits.")
    coded = _rawmode(image)  # first: of a PNG, reading EXIF decodes all
    exif = read_exif(image)
    image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # JPEG decodes at a fraction of its size
    image.load()
    icc, codes = _profile(image, path), _codes(image, path)
    diagonals = focal_in_diagonals(image, exif, size)
    picture = _eight_bits(image, coded, path, exif)
    bitmap = image.format in _BITMAPS and picture.mode == "RGBA"
    if bitmap and picture.getchannel("A").getbbox() is None:  # zero everywhere
        picture = picture.convert("RGB")
    if max(picture.size) > MAX_SIDE:
        if picture.mode in ("P", "PA", "1") or "transparency" in picture.info:
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    picture = _on_white(picture, icc, codes)
    focal = None if diagonals is None else diagonals * float(np.hypot(*picture.size))
    return Photo(np.asarray(picture, np.float32) / 255.0, focal, printable(path.stem))


def _on_white(picture: Image.Image, icc: bytes | None, codes: Codes | None) -> Image.Image:
    """Returns a picture in sRGB, mode RGB, its transparent parts on white."""
    if not picture.has_transparency_data:
        if picture.mode == "P":
            picture = picture.convert("RGB")
        return to_srgb(picture, icc, codes)
    grey = picture.mode in ("1", "L", "LA", "La")
    alpha = picture.convert("RGBA").getchannel("A")
    opaque = to_srgb(picture.convert("RGBA").convert("L" if grey else "RGB"), icc, codes)
    return Image.composite(opaque, Image.new("RGB", picture.size, "white"), alpha)


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Returns how the file stores a pixel, in Pillow's words, such as `RGB;16B`."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _eight_bits(image: ImageFile.ImageFile, coded: str, path: Path, exif: Exif) -> Image.Image:
    """Returns an upright image of 8 bits a channel.

    Cameras and scanners write 10, 12 or 14 bits into the lower ones of 16: such a picture would be
    black. Pillow keeps the upper 8 bits of colours; those below are read by FFmpeg.

    Raises:
        InputError: the values are floating-point numbers or have more than 16 bits.
    """
    if image.mode == "F" or coded.startswith(("I;32", "F")):
        raise InputError(
            f"{path} holds floating-point or 32-bit values, whose white is not known; save it with "
            "8 or 16 bits."
        )
    turned = image.format == "TIFF"  # which Pillow turns upright while it loads it
    alpha: np.ndarray | None = None
    if image.mode.startswith("I"):
        values = np.asarray(image, np.float32)
        if isinstance(key := image.info.get("transparency"), int):  # the grey that is transparent
            alpha = np.where(values == key, 0, 65535)
    elif ";16" in coded and max(top for _, top in _extrema(image, coded)) < 64:
        values, alpha = _sixteen_bits(path, has_alpha=image.has_transparency_data)
        if alpha is not None and coded.startswith("RGBa"):  # multiplied by alpha
            values *= ((1 << _bits(alpha)) - 1) / np.maximum(alpha, 1)[..., None]
        turned = False
    else:
        return image if turned else upright(image, exif)
    bits = _bits(values)
    stretched = Image.fromarray(to_bytes(values / ((1 << bits) - 1)))
    if alpha is not None:
        # Some programs scale it as the colours, some to 16 bits.
        alpha = alpha / ((1 << max(bits, _bits(alpha))) - 1)
        stretched.putalpha(Image.fromarray(to_bytes(alpha)))
    return stretched if turned else upright(stretched, exif)


def _sixteen_bits(path: Path, *, has_alpha: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the values of 16 bits of a file, colours `[H, W, 3]` and alpha `[H, W]` or None."""
    import imageio.v3 as iio

    # FFmpeg takes % in a name as the number of a sequence's picture: it gets the contents.
    kind = "rgba64le" if has_alpha else "rgb48le"
    values = iio.imread(path.read_bytes(), plugin="pyav", format=kind, index=0).astype(np.float32)
    return values[..., :3], values[..., 3] if has_alpha else None


def _bits(values: np.ndarray) -> int:
    """Returns the number of bits that values use: 10, 12, 14 or 16."""
    return next((bits for bits in (10, 12, 14) if values.max() < 1 << bits), 16)


def _extrema(image: Image.Image, coded: str) -> tuple[tuple[float, float], ...]:
    """Returns the least and the largest value of each colour, without alpha; of colours that were
    divided by alpha, those of alpha."""
    if coded.startswith("RGBa"):
        bands = image.getchannel("A")
    else:
        bands = image.getchannel(0) if image.mode == "LA" else image.convert("RGB")
    found = bands.getextrema()
    return found if isinstance(found[0], tuple) else (found,)


def _profile(image: ImageFile.ImageFile, path: Path) -> bytes | None:
    """Returns the ICC profile of a file, or None."""
    if image.format != "JPEG2000":
        return image.info.get("icc_profile")
    # Pillow does not read it: box `colr` is length, name, method 2, two bytes and the profile.
    with open(path, "rb") as stream:
        before, found, box = stream.read(1 << 20).partition(b"jp2c")[0].partition(b"colr\2")
    return box[2 : int.from_bytes(before[-4:]) - 9] if found else None


def _codes(image: ImageFile.ImageFile, path: Path) -> Codes | None:
    """Returns the codes of an AVIF, HEIF or PNG file's colours, or None.

    PNG's chunk `gAMA` counts where the file says nothing else of its colours.
    """
    if image.format == "PNG":
        with open(path, "rb") as stream:
            head = stream.read(1 << 20).partition(b"IDAT")[0]
        found = head.partition(b"\0\0\0\x04cICP")[2]
        if len(found) >= 2:
            return Codes(found[0], found[1])
        power = 1 / max(image.info.get("gamma", _SRGB_POWER), 1e-5)
        if "srgb" in image.info or abs(power - 1 / _SRGB_POWER) < 0.05 or not 0.9 < power < 3:
            return None
        return Codes(_SRGB_CODE, _SRGB_TRANSFER, power)
    if image.format not in ("AVIF", "HEIF"):
        return None
    import av

    try:
        with open(path, "rb") as stream, av.open(stream) as container:
            context = container.streams.video[0].codec_context
            return Codes(context.color_primaries, context.color_trc)
    except (av.FFmpegError, IndexError):
        return None


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Returns an image 0..1 (grey or colour, already sRGB) as 8 bit."""
    values = np.clip(np.nan_to_num(np.asarray(image)), 0.0, 1.0)
    return (values * 255.0 + 0.5).astype(np.uint8)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes an image 0..1 as an 8-bit PNG; colours must be sRGB already."""
    Image.fromarray(to_bytes(image)).save(path, compress_level=4)
