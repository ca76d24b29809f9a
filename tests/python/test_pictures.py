"""Picture files of every kind, whole, odd and broken, against Pillow: never a panic, always the file's name."""

import io
import struct
import zlib

import cagan
import numpy as np
import pytest
from helpers import random_picture, refusal
from PIL import Image, ImageCms, ImageOps, features

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


# A picture means the same wherever it comes from


@pytest.fixture
def meaning(swapper, pairs):
    """A function that gives the pixels that a swap takes for its human: the composite where nothing is repainted."""

    def meaning(picture):
        return swapper.swap(picture, pairs[0].article, pairs[1].article)

    return meaning


def matrix_profile(gamma, primaries):
    """Makes an ICC profile of RGB with three curves and a matrix."""
    red, green, blue = (xyz(*colour) for colour in primaries)
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    curves = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    return icc(b"RGB ", b"XYZ ", {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue, **curves})


def icc(space, pcs, tags):
    """Makes an ICC profile, of version 2."""
    none = b"text\0\0\0\0none\0\0\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"a\0" + bytes(79)
    tags = {b"desc": name, b"cprt": none, b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value
    head = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), 0x02100000, b"mntr", space, pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz(0.9642, 1, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def table_profile(space, channels, points=9, wide=True):
    """Makes an ICC profile whose colours lie in a table; inks darken, lights brighten."""
    axes = np.meshgrid(*[np.linspace(0, 1, points)] * channels, indexing="ij")
    device = np.stack(axes, -1).reshape(-1, channels)
    light = device if channels == 3 else (1 - device[:, :3]) * (1 - 0.9 * device[:, 3:])
    # No device has this model. It is smooth, and far from sRGB.
    lightness = 100 * (light @ [0.3, 0.6, 0.1]) ** 0.9
    lab = np.stack([lightness, 90 * (light[:, 0] - light[:, 1]), 80 * (light[:, 1] - light[:, 2])], -1)
    eye = struct.pack(">9i", *(65536 * (k % 4 == 0) for k in range(9)))
    head = bytes([channels, 3, points, 0]) + eye
    if wide:
        ends = np.array([0, 65535], ">u2").tobytes()
        colours = ((lab + np.array([0, 128, 128])) * [652.8, 256, 256]).clip(0, 65535).astype(">u2").tobytes()
        tag = b"mft2\0\0\0\0" + head + struct.pack(">HH", 2, 2) + ends * channels + colours + ends * 3
    else:
        colours = ((lab + np.array([0, 128, 128])) * [2.55, 1, 1]).clip(0, 255).astype(np.uint8).tobytes()
        tag = b"mft1\0\0\0\0" + head + bytes(range(256)) * channels + colours + bytes(range(256)) * 3
    return icc(space, b"Lab ", {b"A2B0": tag})


def grey_profile(gamma):
    return icc(b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))})


ADOBE = matrix_profile(2.2, [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)])
PROFILES = {
    "adobe": ("RGB", ADOBE),
    "linear": (
        "RGB",
        matrix_profile(1, [(0.5151, 0.2412, -0.0011), (0.292, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)]),
    ),
    "table of 16 bits": ("RGB", table_profile(b"RGB ", 3)),
    "table of 8 bits": ("RGB", table_profile(b"RGB ", 3, wide=False)),
    "inks of 16 bits": ("CMYK", table_profile(b"CMYK", 4)),
    "inks of 8 bits": ("CMYK", table_profile(b"CMYK", 4, wide=False)),
    "grey": ("L", grey_profile(2.2)),
    "linear grey": ("L", grey_profile(1)),
}


# Formats that hold a picture of each mode.
HOLDERS = {"RGB": ("PNG", "TIFF", "WEBP", "JPEG"), "L": ("PNG", "TIFF", "JPEG"), "CMYK": ("TIFF", "JPEG")}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in PROFILES for kind in HOLDERS[PROFILES[name][0]]])
def test_profiles_mean_what_little_cms_says(decoded, name, kind):
    mode, profile = PROFILES[name]
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, len(mode)), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)
    data = io.BytesIO()
    picture.save(data, kind, icc_profile=profile, **({"lossless": True} if kind == "WEBP" else {}))
    srgb, own = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(Image.open(io.BytesIO(data.getvalue())), own, srgb, outputMode="RGB")
    got = decoded(data.getvalue())
    assert np.abs(got - np.asarray(expected, float)).max() <= 2
    plain = by_pillow(data.getvalue())
    assert np.abs(got - plain).max() > 8, "the profile counts"


def bmp_with_profile(picture, profile):
    """Writes a BMP with a header of version 5. Pillow's has 40 bytes, and Pillow passes over a profile in it."""
    plain = as_saved("BMP", picture)
    pixels = plain[struct.unpack_from("<I", plain, 10)[0] :]
    info = struct.pack("<I", 124) + plain[18:54] + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0) + b"DEBM"
    info = info.ljust(108, b"\0") + struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<3I", 138 + len(pixels) + len(profile), 0, 138) + info + pixels + profile


def test_a_bmps_profile_counts(decoded):
    data = bmp_with_profile(SMOOTH, ADOBE)
    assert np.array_equal(by_pillow(data), np.asarray(SMOOTH))
    srgb, own = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(ADOBE))
    expected = ImageCms.profileToProfile(SMOOTH, own, srgb, outputMode="RGB")
    assert np.abs(decoded(data) - np.asarray(expected, float)).max() <= 2
    # What lies behind the file's end, and no profile at all.
    for broken in (data[:-300], bmp_with_profile(SMOOTH, b""), data.replace(b"DEBM", b"BGRs")):
        assert np.array_equal(decoded(broken), np.asarray(SMOOTH))


def test_profiles_of_another_model_and_broken_ones_are_passed_over(decoded):
    for mode, profile in (("RGB", grey_profile(1)), ("L", ADOBE), ("CMYK", ADOBE), ("RGB", ADOBE[:200]), ("RGB", b"x")):
        data = io.BytesIO()
        SMOOTH.convert(mode).save(data, "TIFF", icc_profile=profile)
        assert np.abs(decoded(data.getvalue()) - by_pillow(data.getvalue())).max() <= 1


def as_saved(kind, picture=SMOOTH, **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
PREFIXED = b"Exif\0\0" + EXIF.tobytes().removeprefix(b"Exif\0\0")
BARE = PREFIXED[6:]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
XMP_NESTED = b"<x:xmpmeta><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>"


def with_chunks(*chunks, behind=False):
    """Puts chunks into a PNG, before its pixels or behind them."""
    data = as_saved("PNG")
    at = len(data) - 12 if behind else data.index(b"IDAT") - 4
    return data[:at] + b"".join(png_chunk(kind, content) for kind, content in chunks) + data[at:]


def with_segments(*contents):
    data = as_saved("JPEG", quality=100, subsampling=0)
    return data[:2] + b"".join(struct.pack(">HH", 0xFFE1, len(c) + 2) + c for c in contents) + data[2:]


def in_webp(kind, content):
    data = as_saved("WEBP", lossless=True, exif=BARE if kind == b"EXIF" else b"", xmp=XMP if kind == b"XMP " else b"")
    at = data.index(kind)
    old = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    old += old % 2
    padded = kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    body = data[12:at] + padded + data[at + old :]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


RAW = b"\nexif\n%8d\n" % len(PREFIXED) + b"\n".join(
    PREFIXED.hex().encode()[k : k + 72] for k in range(0, 2 * len(PREFIXED), 72)
)
PLACES = {
    "png: eXIf": lambda: with_chunks((b"eXIf", BARE)),
    "png: eXIf with prefix": lambda: with_chunks((b"eXIf", PREFIXED)),
    "png: eXIf behind": lambda: with_chunks((b"eXIf", BARE), behind=True),
    "png: raw profile": lambda: with_chunks((b"tEXt", b"Raw profile type exif\0" + RAW)),
    "png: packed raw profile": lambda: with_chunks((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW))),
    "png: raw profile behind": lambda: with_chunks((b"tEXt", b"Raw profile type exif\0" + RAW), behind=True),
    "png: xmp": lambda: with_chunks((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "png: packed xmp": lambda: with_chunks((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_NESTED))),
    "jpeg: exif": lambda: with_segments(PREFIXED),
    "jpeg: exif with two prefixes": lambda: with_segments(b"Exif\0\0" + PREFIXED),
    "jpeg: exif behind xmp": lambda: with_segments(b"http://ns.adobe.com/xap/1.0/\0<x/>", PREFIXED),
    "jpeg: xmp": lambda: with_segments(b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "jpeg: nested xmp": lambda: with_segments(b"http://ns.adobe.com/xap/1.0/\0" + XMP_NESTED),
    "jpeg: exif in two parts": lambda: with_segments(PREFIXED[:20], b"Exif\0\0" + PREFIXED[20:]),
    "webp: exif": lambda: in_webp(b"EXIF", BARE),
    "webp: exif with prefix": lambda: in_webp(b"EXIF", PREFIXED),
    "webp: xmp": lambda: in_webp(b"XMP ", XMP),
    "tiff: entry": lambda: as_saved("TIFF", tiffinfo={0x0112: 6}),
    "tiff: packed": lambda: as_saved("TIFF", tiffinfo={0x0112: 6}, compression="tiff_lzw"),
    "tiff: palette": lambda: as_saved("TIFF", SMOOTH.quantize(99), tiffinfo={0x0112: 6}),
    "tiff: xmp": lambda: as_saved("TIFF", tiffinfo={700: XMP}),
}


@pytest.mark.parametrize("place", PLACES)
def test_orientation_is_read_wherever_it_is_written(decoded, place):
    data = PLACES[place]()
    with Image.open(io.BytesIO(data)) as picture:
        turned = ImageOps.exif_transpose(picture)
        expected = np.asarray(turned.convert("RGB"), float)
    assert expected.shape == (48, 60, 3), "Pillow turns it"
    got = decoded(data)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1


MEANINGS = {
    "rgb": lambda: as_saved("PNG"),
    "turned": PLACES["jpeg: exif"],
    "turned by xmp": PLACES["png: xmp"],
    "profile": lambda: as_saved("PNG", icc_profile=ADOBE),
    "profile and alpha": lambda: as_saved("PNG", with_alpha(SMOOTH), icc_profile=ADOBE),
    "table": lambda: as_saved("TIFF", icc_profile=PROFILES["table of 16 bits"][1]),
    "inks": lambda: as_saved("TIFF", SMOOTH.convert("CMYK"), icc_profile=PROFILES["inks of 16 bits"][1]),
    "inks as jpeg": lambda: as_saved("JPEG", SMOOTH.convert("CMYK"), quality=95),
    "grey of 16 bits": lambda: as_saved("PNG", deep("I;16")),
    "grey of 16 bits as tiff": lambda: as_saved("TIFF", deep("I;16")),
    "floats": lambda: as_saved("TIFF", SMOOTH.convert("F")),
    "palette": lambda: as_saved("GIF", SMOOTH.quantize(9)),
    "transparent palette": lambda: as_saved("PNG", SMOOTH.quantize(16), transparency=3),
    "transparent colour": lambda: as_saved("PNG", transparency=SMOOTH.getpixel((0, 0))),
    "grey and alpha": lambda: as_saved("PNG", with_alpha(SMOOTH.convert("L"))),
    "bits": lambda: as_saved("PNG", SMOOTH.convert("1")),
    "progressive": lambda: as_saved("JPEG", quality=80, progressive=True),
    "lossy webp": lambda: as_saved("WEBP", quality=80),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_path_bytes_and_object_mean_the_same(meaning, decoded, tmp_path, name):
    data = MEANINGS[name]()
    pixels = decoded(data)
    (tmp_path / "a").write_bytes(data)
    expected = meaning(tmp_path / "a")
    assert meaning(pixels) == expected
    assert meaning(data) == expected
    assert meaning(bytearray(data)) == expected
    with Image.open(io.BytesIO(data)) as picture:
        assert meaning(picture) == expected
        assert meaning(ImageOps.exif_transpose(picture)) == expected
    assert meaning([data, pixels])[1] == expected


def test_numbers_of_32_bits_and_other_modes(meaning):
    grey = np.asarray(SMOOTH.convert("L"))
    expected = meaning(np.repeat(grey[..., None], 3, 2))
    scaled = [grey.astype(np.int32) * 257, grey.astype(np.int32), grey.astype(np.float32), np.float32(grey / 255)]
    for values in (*scaled, grey.astype(np.uint16) * 257):
        assert meaning(Image.fromarray(values)) == expected
    for mode in ("YCbCr", "HSV", "RGBX"):
        converted = SMOOTH.convert(mode)
        assert meaning(converted) == meaning(converted.convert("RGB")), mode
    srgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    converted = ImageCms.profileToProfile(SMOOTH, srgb, lab, outputMode="LAB")
    assert meaning(converted) == meaning(ImageCms.profileToProfile(converted, lab, srgb, outputMode="RGB"))
    for values, word in (
        (grey.astype(np.int32) - 300, "-"),
        (grey.astype(np.int32) * 70_000, "65535"),
        (np.full((4, 4), np.nan, np.float32), "finite"),
        (np.full((4, 4), -0.5, np.float32), "-0.5"),
    ):
        refusal(ValueError, lambda values=values: meaning(Image.fromarray(values)), "human", word)


def test_objects_and_bytes_that_are_no_whole_picture(meaning):
    data = encoded("jpeg")
    refusal(ValueError, lambda: meaning(data[:900]), "human", "truncated")
    refusal(ValueError, lambda: meaning(b""), "human", "empty")
    refusal(ValueError, lambda: meaning(Image.open(io.BytesIO(encoded("png")[:-60]))), "human", "truncated")


# What Pillow reads and the core does not


FOREIGN = {
    "jpeg 2000": lambda: as_saved("JPEG2000"),
    "ppm": lambda: as_saved("PPM"),
    "ico": lambda: as_saved("ICO", sizes=[SMOOTH.size]),
    "palette tiff": lambda: as_saved("TIFF", SMOOTH.quantize(16)),
    "1-bit tiff": lambda: as_saved("TIFF", SMOOTH.convert("1"), compression="group4"),
    "tiff with grey and alpha": lambda: as_saved("TIFF", with_alpha(SMOOTH.convert("L"))),
    "big tiff": lambda: as_saved("TIFF", big_tiff=True),
    "tiff with jpeg": lambda: as_saved("TIFF", compression="jpeg", quality=90),
    "zstd tiff": lambda: as_saved("TIFF", compression="zstd"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_pillow_reads_what_the_core_does_not(decoded, tmp_path, name):
    data = FOREIGN[name]()
    assert np.abs(decoded(data) - by_pillow(data)).max() <= 1
    refusal(ValueError, lambda: decoded(data[: len(data) // 2]), tmp_path / "odd.jpg", "cannot be decoded")


def test_an_avif(decoded):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = as_saved("AVIF", quality=95, exif=PREFIXED, icc_profile=ADOBE)
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    srgb, own = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(ADOBE))
    expected = np.asarray(ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB"), float)
    assert expected.shape == (48, 60, 3)
    assert np.abs(decoded(data) - expected).max() <= 2


def test_a_heic(decoded):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = as_saved("HEIF", quality=95, exif=PREFIXED)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), float)
    assert expected.shape == (48, 60, 3)
    assert np.abs(decoded(data) - expected).max() <= 1


def test_pictures_of_pillow_train_like_others(tmp_path):
    """The loader's threads ask Python, while the main thread waits for them."""
    for k in range(4):
        for side in ("human", "article"):
            (tmp_path / side).mkdir(exist_ok=True)
            picture = Image.fromarray(np.roll(random_picture(48, 36), k, 1)).quantize(60)
            picture.rotate(90 * (side == "human")).save(tmp_path / side / f"{k}.tif")
    for loader in ("resident", "streaming"):
        options = {"loader": loader, "steps": 2, "threads": 1, "progress": False}
        run = cagan.train(tmp_path, tmp_path / loader, "smoke", **options)
        assert run.path.exists()


# Tiff: kinds that photographers' tools write


def on_white_16(rgba):
    rgba = rgba.astype(float) / 65535
    return 255 * (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])


@pytest.mark.parametrize("tile", [None, (16, 32)], ids=["strips", "tiles"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [None, "zlib"])
def test_kinds_of_tiff(decoded, tmp_path, tile, order, packed):
    tifffile = pytest.importorskip("tifffile")
    rng = np.random.default_rng(3)
    deep16 = rng.integers(0, 65536, (50, 70, 4), dtype=np.uint16)
    rgb16, rgb8 = deep16[..., :3], (deep16[..., :3] >> 8).astype(np.uint8)
    grey16, alpha = deep16[..., 0], deep16[..., 3:]
    three = lambda grey: np.repeat(grey[..., None], 3, 2)  # noqa: E731
    planes = lambda picture: np.ascontiguousarray(np.moveaxis(picture, -1, 0))  # noqa: E731
    apart = {"planarconfig": "separate"}
    inks = 255 - deep16[..., 3:] / 257
    kinds = {
        "rgb": (rgb8, rgb8, {}),
        "rgb 16": (rgb16, rgb16 / 257, {}),
        "rgb planes": (planes(rgb8), rgb8, apart),
        "rgb 16 planes": (planes(rgb16), rgb16 / 257, apart),
        "rgba 16": (deep16, on_white_16(deep16), {"extrasamples": ["unassalpha"]}),
        "rgb and nothing": (np.dstack([rgb8, rgb8[..., :1]]), rgb8, {"extrasamples": ["unspecified"]}),
        "grey": (rgb8[..., 0], three(rgb8[..., 0]), {"photometric": "minisblack"}),
        "grey 16": (grey16, three(grey16 / 257), {"photometric": "minisblack"}),
        "white is 0": (grey16, three(255 - grey16 / 257), {"photometric": "miniswhite"}),
        "floats": (rgb8 / np.float32(255), rgb8, {}),
        "grey floats": (rgb8[..., 0] / np.float32(255), three(rgb8[..., 0]), {"photometric": "minisblack"}),
        "bright floats": (rgb8 / np.float32(200), (rgb8 * 1.275).clip(0, 255), {}),
        "inks": (deep16, inks - deep16[..., :3] / 257 * inks / 255, {"photometric": "separated"}),
        "big": (rgb16, rgb16 / 257, {"bigtiff": True}),
        "grey 16 and alpha": (
            np.dstack([grey16, alpha]),
            on_white_16(np.dstack([three(grey16), alpha])),
            {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"},
        ),
    }
    for name, (values, expected, options) in kinds.items():
        options = {"photometric": "rgb", "tile": tile, "byteorder": order, "compression": packed, **options}
        tifffile.imwrite(tmp_path / "a.tif", values, **options)
        data = (tmp_path / "a.tif").read_bytes()
        if name == "rgb 16 planes" and tile and not packed:
            refusal(ValueError, lambda data=data: decoded(data), "without planes in tiles")
            continue
        assert np.abs(decoded(data) - expected).max() <= 1.5, name


# What a file is that is no picture


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"<!DOCTYPE html><title>403 Forbidden</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b'{"message": "not found"}', "JSON"),
        (b"PK\3\4" + bytes(range(60)), "archive"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "video"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.7\n" + bytes(range(200)), "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "raw"),
        (b"8BPS\0\1" + bytes(30), "Photoshop"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), "JPEG 2000"),
        (b"id,human,article\n1,a.jpg,b.jpg\n", "text"),
        (b"\1\2\3\4\5\6\7\x08", "01 02 03 04"),
    ],
)
def test_an_error_says_what_the_file_is(decoded, tmp_path, data, word):
    refusal(ValueError, lambda: decoded(data), tmp_path / "odd.jpg", "cannot be decoded", word)
