"""Picture files of every kind, whole, odd and broken, against Pillow: never a panic, always the file's name."""

import io
import struct
import zlib

import cagan
import numpy as np
import pytest
from helpers import random_picture, refusal
from PIL import Image, ImageOps

RNG = np.random.default_rng(0)
SMOOTH = Image.fromarray(RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)).resize((48, 60), Image.Resampling.BICUBIC)


def with_alpha(image):
    alpha = Image.fromarray(np.linspace(0, 255, 48 * 60).reshape(60, 48).astype(np.uint8))
    image = image.copy()
    image.putalpha(alpha)
    return image


def deep(mode):
    values = np.asarray(SMOOTH.convert("L"), np.uint16) * 257
    return Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.int32))


def frames():
    return {"save_all": True, "append_images": [Image.new("RGB", SMOOTH.size, (0, 255, 0))], "duration": 50}


# Name: picture, format, options of `save`, largest difference from Pillow's bytes.
KINDS = {
    "jpeg": (SMOOTH, "JPEG", {"quality": 90}, 3),
    "progressive": (SMOOTH, "JPEG", {"quality": 90, "progressive": True}, 3),
    "jpeg 444": (SMOOTH, "JPEG", {"quality": 90, "subsampling": 0}, 3),
    "grey jpeg": (SMOOTH.convert("L"), "JPEG", {"quality": 90}, 3),
    "cmyk jpeg": (SMOOTH.convert("CMYK"), "JPEG", {"quality": 95}, 3),
    "png": (SMOOTH, "PNG", {}, 0),
    "png with alpha": (with_alpha(SMOOTH), "PNG", {}, 1),
    "grey png with alpha": (with_alpha(SMOOTH.convert("L")), "PNG", {}, 1),
    "palette png": (SMOOTH.quantize(16), "PNG", {}, 0),
    "transparent palette png": (SMOOTH.quantize(16), "PNG", {"transparency": 3}, 0),
    "1-bit png": (SMOOTH.convert("1"), "PNG", {}, 0),
    "16-bit png": (deep("I;16"), "PNG", {}, 1),
    "webp": (SMOOTH, "WEBP", {"quality": 90}, 3),
    "lossless webp": (SMOOTH, "WEBP", {"lossless": True}, 0),
    "webp with alpha": (with_alpha(SMOOTH), "WEBP", {"lossless": True, "exact": True}, 1),
    "animated webp": (SMOOTH, "WEBP", {"lossless": True, **frames()}, 0),
    "bmp": (SMOOTH, "BMP", {}, 0),
    "palette bmp": (SMOOTH.quantize(16), "BMP", {}, 0),
    "tiff": (SMOOTH, "TIFF", {}, 0),
    "lzw tiff": (SMOOTH, "TIFF", {"compression": "tiff_lzw"}, 0),
    "deflated tiff": (SMOOTH, "TIFF", {"compression": "tiff_adobe_deflate"}, 0),
    "grey tiff": (SMOOTH.convert("L"), "TIFF", {}, 0),
    "16-bit tiff": (deep("I;16"), "TIFF", {}, 1),
    "cmyk tiff": (SMOOTH.convert("CMYK"), "TIFF", {}, 1),
    "gif": (SMOOTH.quantize(16), "GIF", {}, 0),
    "animated gif": (SMOOTH.quantize(16), "GIF", frames(), 0),
    "transparent gif": (SMOOTH.quantize(16), "GIF", {"transparency": 3}, 0),
}


def encoded(name):
    image, kind, options, _ = KINDS[name]
    bytes_ = io.BytesIO()
    image.save(bytes_, kind, **options)
    return bytes_.getvalue()


def by_pillow(data):
    """Decodes the first frame on white with Pillow."""
    image = Image.open(io.BytesIO(data))
    if image.mode in ("I;16", "I;16B", "I"):
        return np.repeat((np.asarray(image, np.float64) / 257).round()[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"), np.float64)


@pytest.fixture
def decoded(tmp_path, pairs):
    """A function that decodes bytes as the human of a pair."""

    def decode(data, name="odd.jpg"):
        path = tmp_path / name
        path.write_bytes(data)
        (tmp_path / "pairs.csv").write_text(f"id,human,article\na,{name},{pairs[0].article_path}\n")
        return cagan.Pairs(tmp_path)[0].human

    return decode


@pytest.mark.parametrize("name", KINDS)
def test_formats_are_detected_by_content_and_decoded_as_by_pillow(decoded, name):
    data = encoded(name)
    pixels = decoded(data)
    expected = by_pillow(data)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= KINDS[name][3]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_turned_upright(decoded, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    SMOOTH.save(data, kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data.getvalue())))
    pixels = decoded(data.getvalue())
    assert pixels.shape[:2] == upright.size[::-1]
    assert np.abs(pixels - np.asarray(upright, np.float64)).max() <= 3


@pytest.mark.parametrize("name", KINDS)
def test_a_truncated_file_is_an_error_or_the_whole_first_frame(decoded, tmp_path, name):
    data = encoded(name)
    whole = decoded(data)
    refused = 0
    for tenth in range(10):
        part = data[: len(data) * tenth // 10]
        try:
            pixels = decoded(part, f"{tenth}.png")
        except ValueError as error:
            assert f"{tmp_path / f'{tenth}.png'}: cannot be decoded: " in str(error)
            assert "\n" not in str(error)
            refused += 1
        else:
            assert np.array_equal(pixels, whole)
    assert refused >= (5 if "animated" in name else 9)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width, height):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(10_000))) + png_chunk(b"IEND", b"")


def with_size(name, at, form, *values):
    data = bytearray(encoded(name))
    struct.pack_into(form, data, at, *values)
    return bytes(data)


def jpeg_of_size(width, height):
    data = bytearray(encoded("jpeg"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    return bytes(data)


def test_a_palette_that_ends_within_a_colour(decoded, tmp_path, capfd):
    """Found by fuzzing: the decoder panics, which becomes an ordinary error without a trace."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0))
    colours = png_chunk(b"PLTE", bytes(4)) + png_chunk(b"tRNS", b"\xff")
    data = png_chunk(b"IDAT", zlib.compress(bytes([0, 1, 1, 1, 1]) * 4)) + png_chunk(b"IEND", b"")
    call = lambda: decoded(b"\x89PNG\r\n\x1a\n" + header + colours + data)  # noqa: E731
    refusal(ValueError, call, tmp_path / "odd.jpg", "cannot be decoded")
    assert capfd.readouterr().err == ""


BOMBS = {
    "png": png_of_size(100_000, 100_000),
    "long png": png_of_size(2**31 - 1, 1),
    "bmp": with_size("bmp", 18, "<ii", 60_000, 60_000),
    "gif": with_size("gif", 6, "<HH", 65_535, 65_535),
    "jpeg": jpeg_of_size(65_500, 65_500),
}


def test_a_picture_without_pixels_fails(decoded, tmp_path):
    refusal(ValueError, lambda: decoded(with_size("gif", 6, "<HH", 48, 0)), tmp_path / "odd.jpg", "got 48 x 0")


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_that_claims_too_much_costs_nothing(decoded, tmp_path, name):
    limit = "Memory limit exceeded" if name == "long png" else "expected at most 100000000 pixels, got "
    refusal(ValueError, lambda: decoded(BOMBS[name]), tmp_path / "odd.jpg", f"cannot be decoded: {limit}")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x00", bytes(5000), b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00"),
        *(b"RIFF\x00\x00\x00\x00WEBP", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"P6 2 2 255\n1234"),
    ],
)
def test_files_that_are_no_picture(decoded, tmp_path, data):
    refusal(ValueError, lambda: decoded(data), tmp_path / "odd.jpg", "cannot be decoded")


def test_a_file_above_the_limit_is_not_read(decoded, tmp_path):
    path = tmp_path / "odd.jpg"
    decoded(encoded("jpeg"))
    with path.open("r+b") as file:
        file.truncate(300 << 20)
    refusal(ValueError, lambda: cagan.Pairs(tmp_path)[0].human, path, "expected at most 268435456 bytes, got 314572800")


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 2)])
def test_tiny_and_thin_pictures_train(tmp_path, size):
    for k in range(4):
        for side in ("human", "article"):
            (tmp_path / side).mkdir(exist_ok=True)
            Image.new("RGB", size, (60 * k, 9, 255 - 60 * k)).save(tmp_path / side / f"{k}.png")
    run = cagan.train(tmp_path, tmp_path / "run", "smoke", steps=1, progress=False)
    swap = run.swapper().swap(*(tmp_path / name for name in ("human/0.png", "article/0.png", "article/1.png")))
    assert swap.image.shape == (size[1], size[0], 3)


def test_flipped_bits_never_panic(decoded, capfd):
    """A few hundred damaged files of all kinds: each decodes or fails with its name."""
    rng = np.random.default_rng(1)
    refused = 0
    for name in KINDS:
        data = np.frombuffer(encoded(name), np.uint8)
        for _ in range(12):
            damaged = data.copy()
            damaged[rng.integers(0, len(data), 6)] ^= rng.integers(1, 256, 6, dtype=np.uint8)
            try:
                decoded(damaged.tobytes())
            except ValueError as error:
                assert "odd.jpg: cannot be decoded: " in str(error)
                refused += 1
    assert refused > 50
    assert "panicked" not in capfd.readouterr().err


# Pictures of a set


def as_human(path):
    """Decodes a file as the human of a pair beside it."""
    (path.parent / "pairs.csv").write_text(f"id,human,article\na,{path.name},{path.name}\n")
    return cagan.Pairs(path.parent)[0].human


def test_pictures_are_what_pillow_decodes(pairs):
    for pair in pairs:
        for array, path in ((pair.human, pair.human_path), (pair.article, pair.article_path)):
            assert array.dtype == np.uint8
            with Image.open(path) as picture:
                assert np.array_equal(array, np.asarray(picture.convert("RGB")))
    pair = pairs[0]
    pair.human[:] = 0
    assert pair.human.any(), "each asking decodes anew"


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # JPEG keeps blocks.
    blocks = np.kron(random_picture(3, 5) // 128 * 200, np.ones((16, 16, 1), np.uint8))
    path = tmp_path / f"a.{ending}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    Image.fromarray(blocks).save(path, exif=exif, **options.get(ending, {}))
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert expected.shape == ((48, 80, 3) if orientation < 5 else (80, 48, 3))
    got = as_human(path)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= (2 if ending == "jpg" else 0)


def on_white(rgba):
    rgb, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    return ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def test_transparency_lies_on_white(tmp_path):
    rgba = random_picture(channels=4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert np.array_equal(as_human(tmp_path / "a.png"), on_white(rgba))
    grey = random_picture(channels=2)
    Image.fromarray(grey, "LA").save(tmp_path / "b.png")
    assert np.array_equal(as_human(tmp_path / "b.png"), on_white(grey[..., [0, 0, 0, 1]]))


def test_grey_and_palettes_are_widened(tmp_path):
    grey = random_picture(channels=1)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(as_human(tmp_path / "grey.png"), np.stack([grey] * 3, -1))
    Image.fromarray(grey > 99).save(tmp_path / "bits.png")
    assert np.array_equal(as_human(tmp_path / "bits.png"), np.stack([(grey > 99) * np.uint8(255)] * 3, -1))
    palette = Image.fromarray(random_picture()).quantize(17)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(as_human(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    wide = np.random.default_rng(4).integers(0, 1 << 16, (24, 40), dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert np.array_equal(as_human(tmp_path / "wide.png"), np.stack([np.rint(wide / 257).astype(np.uint8)] * 3, -1))


def test_an_ending_may_lie(tmp_path):
    picture = random_picture()
    Image.fromarray(picture).save(tmp_path / "a.jpg", format="png")
    assert np.array_equal(as_human(tmp_path / "a.jpg"), picture)
