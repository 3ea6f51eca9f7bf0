"""Every kind of picture that users bring: it works, or one clear sentence says why not."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pictures import TO_XYZ, coded, in_space, linear, profile
from PIL import Image, ImageCms, TiffImagePlugin

from jaxface.errors import InputError
from jaxface.images import MAX_SIDE, read_photo, readable, write_png

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


def test_every_suffix_that_a_folder_run_takes_is_read(tmp_path: Path) -> None:
    """In upper case, too: `.JFIF`, `.HIF`, `.MPO`."""
    for suffix, kind in readable().items():
        stream = BytesIO()
        picture().save(stream, kind)
        path = tmp_path / f"a{suffix.upper()}"
        path.write_bytes(stream.getvalue())
        assert read_photo(path).srgb.shape == (48, 64, 3), suffix


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


def skin() -> np.ndarray:
    """Returns `[48, 64, 3]` sRGB bytes of the colours of skin, hair and cloth."""
    y, x = np.mgrid[0:1:48j, 0:1:64j][..., None]
    return np.uint8(np.array([60, 40, 30]) + x * np.array([170, 120, 90]) + 25 * y + 0.5)


def save_png(path: Path, values: np.ndarray, extra: bytes = b"") -> None:
    """Writes a PNG of 8 or 16 bits, grey or colour, with alpha or not, with more chunks in front of
    its pixels."""
    height, width = values.shape[:2]
    depth, kind = 8 * values.itemsize, [0, 4, 2, 6][values[0, 0].size - 1]
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def save_tiff(path: Path, values: np.ndarray, more: Mapping[int, int] = {}) -> None:
    """Writes an uncompressed TIFF `[H, W, C]` of 16 bits, which Pillow reads and does not write."""
    height, width, count = values.shape
    tags, pixels = TiffImagePlugin.ImageFileDirectory_v2(), values.astype("<u2").tobytes()
    fields = {256: width, 257: height, 258: (16,) * count, 259: 1, 262: 2, 277: count, 278: height}
    for tag, value in (fields | {273: 0, 279: len(pixels)} | more).items():
        tags[tag] = value
    # The strip's offset, 273, counts from the end of the tags.
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + pixels)


def save_bitmap(path: Path, values: np.ndarray) -> None:
    """Writes a BMP `[H, W, 4]` whose header says that there is alpha, which Pillow does not."""
    height, width = values.shape[:2]
    masks = [0xFF0000, 0xFF00, 0xFF, 0xFF000000]
    header = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, values.size, 0, 0, 0, 0)
    header += struct.pack("<4I", *masks) + b"BGRs" + bytes(48)
    start = struct.pack("<IHHI", 14 + len(header) + values.size, 0, 0, 14 + len(header))
    path.write_bytes(b"BM" + start + header + values[..., [2, 1, 0, 3]].tobytes())


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("name", ["50%d.png", "a.tif"])
def test_bits_that_are_used_are_the_range(tmp_path: Path, bits: int, grey: bool, name: str) -> None:
    """Cameras write 12 bits into 16: the picture is not black. FFmpeg's %d is no number."""
    path, shown = tmp_path / name, skin()
    shown[0, 0] = 255
    values = np.round(shown / 255 * ((1 << bits) - 1)).astype(np.uint16)
    values = values[..., 1].copy() if grey else values
    if name.endswith("png"):
        save_png(path, values)
    elif grey:
        Image.fromarray(values).save(path)
    else:
        save_tiff(path, values)
    expected = shown[..., 1:2] if grey else shown
    assert np.abs(255 * read_photo(path).srgb - expected).max() <= 1


@pytest.mark.parametrize("grey", [True, False])
def test_a_lying_tiff_of_16_bits_is_turned_once(tmp_path: Path, grey: bool) -> None:
    """Pillow turns TIFF by itself; FFmpeg, which reads colours of 12 bits, does not."""
    shown, path = skin(), tmp_path / "a.tif"
    shown[0, 0] = 255
    values = np.round(shown / 255 * 4095).astype(np.uint16)
    if grey:
        Image.fromarray(values[..., 1].copy()).save(path, tiffinfo={274: 6})
    else:
        save_tiff(path, values, {274: 6})
    expected = np.rot90(shown[..., 1:2] if grey else shown, -1)
    assert np.abs(255 * read_photo(path).srgb - expected).max() <= 1


def test_alpha_goes_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.allclose(read_photo(tmp_path / "a.png").srgb, 1.0)


@pytest.mark.parametrize("power", [1.0, 1.8, 2.2, 9.0])
@pytest.mark.parametrize("said", [b"", b"sRGB", b"iCCP"])
def test_a_png_says_its_gamma(tmp_path: Path, power: float, said: bytes) -> None:
    """The chunk `gAMA`, unless another tells of colours; 9 is nonsense, 2.2 is taken for sRGB."""
    path, values = tmp_path / "a.png", skin()
    more = {b"": b"", b"sRGB": chunk(b"sRGB", b"\0")}.get(said)
    if more is None:
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        more = chunk(b"iCCP", b"s\0\0" + zlib.compress(srgb))
    save_png(path, values, chunk(b"gAMA", struct.pack(">I", round(100_000 / power))) + more)
    counts = not said and power < 2
    linear_values = (values / 255) ** power
    shown = 1.055 * np.maximum(linear_values, 0.0031308) ** (1 / 2.4) - 0.055
    expected = 255 * shown if counts else values
    assert np.abs(255 * read_photo(path).srgb - expected).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("alpha_bits", [12, 16])
@pytest.mark.parametrize("grey", [True, False])
def test_alpha_of_many_bits(tmp_path: Path, bits: int, alpha_bits: int, grey: bool) -> None:
    """Values of 10 to 16 bits, alpha of as many or of 16, in the same file."""
    path, shown = tmp_path / "a.png", skin()[..., 1:2] if grey else skin()
    shown[0, 0] = 255
    alpha = np.ones((48, 64, 1))
    alpha[:, :20], alpha[:, 20:40] = 0, 0.5
    tops = (1 << bits) - 1, (1 << max(bits, alpha_bits)) - 1
    save_png(path, np.uint16(np.round(np.dstack([shown / 255 * tops[0], alpha * tops[1]]))))
    expected = alpha * shown + (1 - alpha) * 255
    assert np.abs(255 * read_photo(path).srgb - expected).max() <= 1.6


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("multiplied", [True, False])
def test_alpha_of_a_tiff(tmp_path: Path, bits: int, multiplied: bool) -> None:
    """Tag 338 says whether colours are multiplied by alpha."""
    path, top, alpha = tmp_path / "a.tif", (1 << bits) - 1, np.full((48, 64, 1), 0.5)
    colours = skin() / 255 * (alpha if multiplied else 1)
    values = np.round(top * np.dstack([colours, alpha]))
    save_tiff(path, values, {338: 1 if multiplied else 2})
    expected = 127.5 + skin() / 2
    assert np.abs(255 * read_photo(path).srgb - expected).max() <= 1.6


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("grey", [True, False])
def test_the_transparent_colour_of_many_bits(tmp_path: Path, bits: int, grey: bool) -> None:
    """The chunk `tRNS`: a colour stands for nothing."""
    path, shown = tmp_path / "a.png", np.full((48, 64), 255) if grey else skin()
    shown[24:, :32] = 70 if grey else (70, 160, 70)
    values = np.uint16(np.round(shown / 255 * ((1 << bits) - 1)))
    save_png(path, values, chunk(b"tRNS", values[-1, :1].astype(">u2").tobytes()))
    read = 255 * read_photo(path).srgb
    assert (read[24:, :32] == 255).all()
    assert np.abs(read[:24] - np.atleast_3d(shown)[:24]).max() <= 1


@pytest.mark.parametrize("suffix", ["bmp", "tga"])
def test_an_alpha_that_is_zero_everywhere_is_none(tmp_path: Path, suffix: str) -> None:
    """As programs write bitmaps of 32 bits. If any of it is not, it is alpha."""
    image = picture("RGBA")
    for alpha, expected in ((0, np.array(COLOR)), (128, 255 - (255 - np.array(COLOR)) / 2)):
        image.putalpha(alpha)
        image.save(tmp_path / f"a.{suffix}")
        if suffix == "bmp":
            save_bitmap(tmp_path / "a.bmp", np.asarray(image))
        read = read_photo(tmp_path / f"a.{suffix}").srgb[24, 50] * 255
        assert np.abs(read - expected).max() < 1.5


def test_animation_gives_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_photo(tmp_path / "a.gif").srgb[0, 0].tolist() == [1, 0, 0]


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


@pytest.mark.parametrize("space", TO_XYZ)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "JPEG"])
def test_a_profile_counts_in_every_mode(tmp_path: Path, space: str, mode: str) -> None:
    """What shows the same in another space and mode comes out the same."""
    icc, shown, path = profile(space), skin(), tmp_path / "a.png"
    image = Image.fromarray(in_space(shown, space))
    if mode == "P":
        image = image.quantize(64, dither=Image.Dither.NONE)
        image.convert("RGB").save(tmp_path / "b.png", icc_profile=icc)
        shown = 255 * read_photo(tmp_path / "b.png").srgb
    elif mode == "JPEG":
        path = tmp_path / "a.jpg"
        image.save(path, icc_profile=icc, quality=100, subsampling=0)
    elif mode == "CMYK":
        path, image = tmp_path / "a.tif", image.convert(mode)
    else:
        image = image.convert(mode)
    if mode != "JPEG":
        image.save(path, icc_profile=icc)
    off = np.abs(255 * read_photo(path).srgb - shown)
    assert np.quantile(off, 0.99) <= 3 if mode == "JPEG" else off.max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_profile_of_greys_counts(tmp_path: Path, mode: str) -> None:
    shown = skin()[..., 1]
    grey = coded(linear(shown / 255), "grey")
    if mode == "I;16":
        image = Image.fromarray(np.uint16(65535 * grey + 0.5))
    else:
        image = Image.fromarray(np.uint8(255 * grey + 0.5)).convert(mode)
    image.save(tmp_path / "a.png", icc_profile=profile("grey"))
    assert np.abs(255 * read_photo(tmp_path / "a.png").srgb - shown[..., None]).max() <= 2


def test_a_profile_in_jpeg_2000_counts(tmp_path: Path) -> None:
    """As macOS writes it, and Pillow does not: in box `colr`, by method 2."""
    stream, icc = BytesIO(), profile("Adobe RGB")
    Image.fromarray(in_space(skin(), "Adobe RGB")).save(stream, "JPEG2000")
    data = stream.getvalue()
    at, header = data.find(b"colr") - 4, data.find(b"jp2h") - 4
    old = int.from_bytes(data[at : at + 4])
    box = struct.pack(">I", 11 + len(icc)) + b"colr\2\0\0" + icc
    size = int.from_bytes(data[header : header + 4]) + len(box) - old
    head = data[:header] + struct.pack(">I", size) + data[header + 4 : at]
    (tmp_path / "a.jp2").write_bytes(head + box + data[at + old :])
    assert np.abs(255 * read_photo(tmp_path / "a.jp2").srgb - skin()).max() <= 2


def test_a_profile_of_other_colours_than_the_picture_counts_as_none(tmp_path: Path) -> None:
    Image.fromarray(skin()).save(tmp_path / "a.png", icc_profile=profile("grey"))
    assert np.abs(255 * read_photo(tmp_path / "a.png").srgb - skin()).max() == 0


def test_lab_is_converted(tmp_path: Path) -> None:
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(skin()), *spaces, outputMode="LAB")
    image.save(tmp_path / "a.tif")
    assert np.abs(255 * read_photo(tmp_path / "a.tif").srgb - skin()).max() <= 4


# ---- colours by H.273's numbers

TO_BT2020 = [  # ITU-R BT.2087, table 1
    (0.6274, 0.3293, 0.0433),
    (0.0691, 0.9195, 0.0114),
    (0.0164, 0.0880, 0.8956),
]


def pq(nits: np.ndarray) -> np.ndarray:
    """Returns SMPTE ST 2084's code of a luminance."""
    power = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def hlg(nits: np.ndarray) -> np.ndarray:
    """Returns BT.2100's HLG code of colours `[..., 3]` in BT.2020 on a display of 1,000 nits."""
    luminance = (nits / 1000) @ np.array([0.2627, 0.6780, 0.0593])
    scene = nits / 1000 * luminance[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    upper = a * np.log(np.maximum(12 * scene, 1) - b) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def coded_picture(transfer: str) -> tuple[np.ndarray, int, int]:
    """Returns `skin` coded otherwise, as bytes, and the numbers of primaries and transfer."""
    if transfer == "Display P3":
        return in_space(skin(), "Display P3"), 12, 13
    nits = 203 * linear(skin() / 255) @ np.array(TO_BT2020).T
    values = np.maximum(pq(nits) if transfer == "PQ" else hlg(nits), 0)
    return np.uint8(255 * values + 0.5), 9, 16 if transfer == "PQ" else 18


@pytest.mark.parametrize("transfer", ["Display P3", "PQ", "HLG"])
@pytest.mark.parametrize("suffix", ["avif", "heic", "png"])
def test_colours_coded_by_numbers(tmp_path: Path, transfer: str, suffix: str) -> None:
    """Wide gamut without a profile, and HDR, whose reference white of 203 nits is white."""
    values, primaries, number = coded_picture(transfer)
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        save_png(path, values, chunk(b"cICP", bytes([primaries, number, 0, 1])))
    else:
        save_coded(path, values)
        data = path.read_bytes()
        start = data.find(b"colrnclx") + 8
        numbers = struct.pack(">HH", primaries, number)
        path.write_bytes(data[:start] + numbers + data[start + 4 :])
    off = np.abs(255 * read_photo(path).srgb - skin())
    # 8 bits of PQ are coarser than sRGB's, and AVIF and HEIC lose a level of them.
    coarse = transfer == "PQ" and suffix != "png"
    assert off.mean() < (3 if coarse else 1.5) and np.quantile(off, 0.99) <= (9 if coarse else 4)


def save_coded(path: Path, values: np.ndarray) -> None:
    """Writes an AVIF or HEIC file of the best quality."""
    if path.suffix == ".avif":
        Image.fromarray(values).save(path, quality=100, subsampling="4:4:4")
    else:
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(Image.fromarray(values)).save(path, quality=100, chroma=444)


@pytest.mark.parametrize(("name", "code"), [("PQ", 0.5807), ("HLG", 0.75)])
def test_reference_white_of_hdr_is_white(name: str, code: float) -> None:
    """ITU-R BT.2408, table 1: 58 % of PQ, 75 % of HLG."""
    white = np.full(3, 203.0)
    assert (pq(white) if name == "PQ" else hlg(white)) == pytest.approx(code, abs=1e-3)


# ---- several pictures, telephones, sizes


def test_the_first_picture_of_a_file_counts(tmp_path: Path) -> None:
    """MPO: stereo cameras, and telephones' gain maps beside a photo."""
    gain = Image.new("L", (16, 12), 200)
    picture().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[gain], quality=95)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.srgb.shape == (48, 64, 3)
    assert np.abs(photo.srgb[24, 50] * 255 - COLOR).max() < 12


def test_the_primary_picture_of_a_heic_file_counts(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (64, 64), "blue"))
    file.save(tmp_path / "a.heic", primary_index=1)
    assert np.allclose(read_photo(tmp_path / "a.heic").srgb[5, 5], (0, 0, 1), atol=0.02)


def test_heic_of_a_telephone(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = Image.fromarray(in_space(skin(), "Display P3"))
    image.info["icc_profile"] = profile("Display P3")
    heif.from_pillow(image).save(tmp_path / "IMG_1.HEIC", quality=100, chroma=444)
    off = np.abs(255 * read_photo(tmp_path / "IMG_1.HEIC").srgb - skin())
    assert np.quantile(off, 0.99) <= 6 and readable()[".heic"] == "HEIF"


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


HEADS = {
    "page": b"<!DOCTYPE html><html><title>404</title></html>",
    "archive": b"PK\3\4",
    "mp4": b"\0\0\0\x20ftypisom",
    "mkv": b"\x1aE\xdf\xa3",
    "avi": b"RIFF\0\0\0\0AVI LIST",
}


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
    elif kind == "psd":
        path.write_bytes(b"8BPS\0\x01" + bytes(64))
    elif kind == "float":
        Image.fromarray(np.full((64, 64), 0.5, np.float32)).save(path, "TIFF")
    elif kind == "integers":
        Image.fromarray(np.full((64, 64), 1 << 24, np.int32)).save(path, "TIFF")
    elif kind == "unknown tiff":
        path.write_bytes(b"II*\0" + bytes(64))
    elif kind == "planes":
        save_tiff(path, skin().astype(np.uint16), {284: 2})
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind in HEADS:
        path.write_bytes(HEADS[kind] + bytes(64))
    elif kind == "raw":
        picture().save(path, "TIFF", tiffinfo={254: 1})
    return path


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("missing", "no file"),
        ("text", "not a picture"),
        ("empty", "is empty"),
        ("truncated", "damaged"),
        ("tiny", "too small"),
        ("folder", "folder"),
        ("huge", "million pixels"),
        ("heic", "HEIC"),
        ("psd", "Photoshop"),
        ("float", "8 or 16 bits"),
        ("integers", "8 or 16 bits"),
        ("unknown tiff", "TIFF of a kind"),
        ("planes", "a plane of 16 bits"),
        ("raw", "raw file"),
        ("pipe", "a pipe or a device"),
        ("device", "a pipe or a device"),
        ("page", "a web page"),
        ("archive", "an archive"),
        ("mp4", "is a film; --video"),
        ("mkv", "is a film; --video"),
        ("avi", "is a film; --video"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, kind: str, word: str) -> None:
    if kind in ("pipe", "device") and sys.platform == "win32":
        pytest.skip("Windows has no such files")
    with pytest.raises(InputError, match=word) as caught:
        read_photo(bad(kind, tmp_path))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_png_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.random((40, 40, 3))
    write_png(tmp_path / "a.png", image)
    assert np.abs(read_photo(tmp_path / "a.png").srgb - image).max() <= 0.5 / 255 + 1e-6


def test_heic_without_its_package_names_it(tmp_path: Path, monkeypatch) -> None:
    readable()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(InputError, match=r"pip install 'jaxface\[heic\]'"):
        read_photo(bad("heic", tmp_path))


@pytest.mark.parametrize(
    "suffix", ["jpg", "png", "webp", "avif", "heic", "tif", "gif", "jp2", "tga"]
)
def test_damaged_pictures_are_read_or_refused(
    tmp_path: Path, suffix: str, rng: np.random.Generator
) -> None:
    """Whatever a decoder raises on bytes that are wrong is a sentence, not a bug."""
    if suffix == "heic":
        pytest.importorskip("pillow_heif")
        readable()
    stream = BytesIO()
    Image.fromarray(skin()).save(stream, Image.registered_extensions()[f".{suffix}"])
    whole, path = stream.getvalue(), tmp_path / f"a.{suffix}"
    for trial in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 600 if trial % 2 else 1 << 30), 4):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert read_photo(path).srgb.shape[2] == 3
        except InputError as error:
            assert str(error).endswith(".")
