import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from segscope.artefacts.images import (
    EXIF_ORIENTATION,
    SizeMismatchError,
    decode_png,
    encode_png,
    image_size,
    open_image,
    resize_image,
    to_rgb,
)
from segscope.errors import SegscopeError
from segscope.limits import MAX_IMAGE_BYTES

WIDTH, HEIGHT = 40, 30
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)


def save(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def test_shrinking_is_anti_aliased():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 254
    assert np.ptp(np.asarray(resize_image(Image.fromarray(stripes), 64))[:, 2:-2]) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"])
def test_pictures_of_every_mode_become_rgb(tmp_path, mode):
    picture = PICTURE.convert("L").convert(mode) if mode == "PA" else PICTURE.convert(mode)
    path = save(tmp_path / "a.tif", picture)
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert np.array_equal(to_rgb(open_image(path)), expected)


def test_colours_under_transparency_stay(tmp_path):
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([0, 0, 0, 200, 10, 30])
    path = save(tmp_path / "a.png", palette, transparency=1)
    assert np.unique(np.asarray(to_rgb(open_image(path))).reshape(-1, 3), axis=0).tolist() == [[200, 10, 30]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 54
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(deep))
    opened = open_image(path, (WIDTH, HEIGHT))
    assert opened.mode == "L"
    assert np.array_equal(opened, deep >> 8)


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_eight_bits_in_a_wider_type_stay(tmp_path, kind):
    gray = PIXELS[..., 0].astype(kind)
    assert np.array_equal(open_image(save(tmp_path / "a.tif", Image.fromarray(gray))), gray)


def test_sixteen_bits_in_thirty_two_become_eight(tmp_path):
    deep = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH) * 54
    assert np.array_equal(open_image(save(tmp_path / "a.tif", Image.fromarray(deep))), deep >> 8)
    wider = save(tmp_path / "b.tif", Image.fromarray(deep * 1000))
    with pytest.raises(SegscopeError, match="more than 16 bits"):
        open_image(wider)


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(PIXELS[..., 0].astype(np.float32)))
    with pytest.raises(SegscopeError, match="floating-point"):
        open_image(path)


def test_an_exif_rotation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    path = save(tmp_path / "a.jpg", PICTURE, exif=exif)
    assert open_image(path, (WIDTH, HEIGHT)).size == (WIDTH, HEIGHT)
    with pytest.raises(SizeMismatchError, match=r"is 40×30, its annotations are of 30×40 \(turned by its EXIF"):
        open_image(path, (HEIGHT, WIDTH))
    with pytest.raises(SizeMismatchError, match=r"of 40×30 \(turned by its EXIF orientation: data.exif: ignore reads"):
        open_image(path, (WIDTH, HEIGHT), "apply")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_an_exif_orientation_can_be_applied(tmp_path, suffix, turned):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = turned
    path = save(tmp_path / f"a.{suffix}", PICTURE, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as opened:
        expected = ImageOps.exif_transpose(opened)
        assert image_size(path, "apply") == expected.size
        assert np.array_equal(open_image(path, expected.size, "apply"), expected)
    if suffix != "tif":  # which Pillow turns in any case
        assert np.array_equal(open_image(path, (WIDTH, HEIGHT)), PIXELS)


def test_sixteen_bits_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 3
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 54
    path = save(tmp_path / "a.png", Image.fromarray(deep), exif=exif)
    assert np.array_equal(open_image(path, exif="apply"), (deep >> 8)[::-1, ::-1])


def test_sides_in_the_wrong_order_are_told(tmp_path):
    path = save(tmp_path / "a.png", PICTURE)
    with pytest.raises(SizeMismatchError, match=r"annotations are of 30×40 \(width and height are swapped"):
        open_image(path, (HEIGHT, WIDTH))


def test_a_misleading_extension_is_no_matter(tmp_path):
    path = save(tmp_path / "a.jpg", PICTURE, format="PNG")
    assert np.array_equal(open_image(path, (WIDTH, HEIGHT)), PIXELS)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_png_gives_back_what_it_was_given(shape):
    array = np.resize(PIXELS, shape)
    assert np.array_equal(decode_png(encode_png(array)), array)


def test_no_program_is_started_to_read_an_image(tmp_path):
    """PostScript, which Pillow would hand to Ghostscript, under any name."""
    path = tmp_path / "photo.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\nshowpage\n")
    assert Image.open(path).format == "EPS"
    with pytest.raises(SegscopeError, match="cannot be decoded"):
        open_image(path)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**26 + 1, 1)])
def test_an_image_too_large_to_be_decoded_is_said_so(tmp_path, size):
    """By what its header declares: all white, it is a small file."""
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(SegscopeError, match=r"its pixels are .*more than 67 million: scale it down"):
        open_image(tmp_path / "a.png")


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(SegscopeError, match="it is no file"):
        open_image(tmp_path / "photo.jpg")


def test_a_jpeg_is_not_read_beyond_what_a_picture_may_be(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(b"\xff\xd8")
        file.truncate(2**40)  # of which the disk holds two bytes
    with pytest.raises(SegscopeError, match=f"more than {MAX_IMAGE_BYTES} bytes"):
        open_image(tmp_path / "a.jpg")
