"""JPEGs of every form that libjpeg-turbo writes, against Pillow; and forms that must be refused."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
from cagan._cagan import read_picture
from helpers import refusal
from PIL import Image

# Pillow reads with libjpeg-turbo. One level more than none: its versions differ in the last bit.
MOST = 1
SIZES = [(48, 60), (1, 1), (17, 33), (64, 64), (101, 7), (7, 101)]
NOISE = np.random.default_rng(0).integers(0, 256, (101, 101, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(NOISE[:5, :4]).resize((101, 101), Image.Resampling.BICUBIC))


def pictures():
    for width, height in SIZES:
        yield NOISE[:height, :width]
        yield SMOOTH[:height, :width]


def saved(picture, **options):
    data = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(data, "JPEG", **options)
    return data.getvalue()


@pytest.fixture
def read(tmp_path):
    def read(data):
        (tmp_path / "a.jpg").write_bytes(data)
        return read_picture(tmp_path / "a.jpg")

    return read


def same(read, data, what=""):
    """Checks that a JPEG is read as by Pillow."""
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(picture.convert("RGB"), int)
    got = read(data)
    assert got.shape == expected.shape, what
    assert np.abs(got - expected).max() <= MOST, what


def tool(name, data, *arguments):
    """Runs a tool of libjpeg-turbo."""
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} on this machine")
    return subprocess.run([name, *arguments], input=data, capture_output=True, check=True).stdout


def ppm(pixels):
    height, width, _ = pixels.shape
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}],
    ids=str,
)
def test_pillows_own(read, subsampling, options):
    for pixels in pictures():
        for quality in (30, 95, 100):
            same(read, saved(pixels, quality=quality, subsampling=subsampling, **options), (pixels.shape, quality))


SAMPLINGS = [
    *("1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2", "4x4"),
    # Chroma of two kinds, finer than luma, and coarser in one direction alone.
    *("2x2,2x1,2x1", "2x2,1x2,1x2", "2x1,1x1,2x1", "2x2,2x2,1x1", "2x2,2x1,1x2"),
    *("1x1,2x2,2x2", "1x1,2x1,2x1", "1x1,1x2,1x1", "1x2,2x1,1x1", "2x1,1x2,1x2"),
]


@pytest.mark.parametrize("options", ["", "-progressive", "-arithmetic", "-restart 1", "-restart 1B"])
def test_samplings(read, options):
    made = 0
    for sampling in SAMPLINGS:
        factors = sampling if "," in sampling else f"{sampling},1x1,1x1"
        for pixels in (NOISE[:33, :17], NOISE[:64, :64], SMOOTH[:7, :101], SMOOTH[:60, :48]):
            try:
                data = tool("cjpeg", ppm(pixels), "-quality", "92", "-sample", factors, *options.split())
            except subprocess.CalledProcessError:
                continue  # More than ten blocks a unit.
            same(read, data, (sampling, pixels.shape))
            made += 1
    assert made > 70


def test_scans_of_one_component(read, tmp_path):
    (tmp_path / "scans.txt").write_text("0;\n1;\n2;\n")
    partly = "0: 0-0, 0, 0;\n1: 0-0, 0, 0;\n2: 0-0, 0, 0;\n0: 1-63, 0, 0;\n2: 1-63, 0, 0;\n1: 1-63, 0, 0;\n"
    (tmp_path / "partly.txt").write_text(partly)
    for pixels in pictures():
        for name in ("scans.txt", "partly.txt"):
            for sampling in ("1x1", "2x2", "2x1"):
                options = ["-sample", sampling, "-scans", str(tmp_path / name)]
                same(read, tool("cjpeg", ppm(pixels), *options), (name, sampling, pixels.shape))


@pytest.mark.parametrize(
    "options", ["-rotate 90", "-flip vertical", "-transverse", "-grayscale", "-progressive -copy all"]
)
def test_transformed(read, options):
    for pixels in pictures():
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            data = tool("jpegtran", saved(pixels, subsampling=subsampling), *options.split())
            same(read, data, (subsampling, pixels.shape))


# By hand


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def adobe(transform):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def without_markers(data):
    """Takes the segments of programs out of a JPEG."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not 0xE0 <= data[at + 1] <= 0xEF:
            out += data[at : at + length]
        at += length
    return out + data[at:]


def with_names(data, names):
    """Renames the components, in the frame and in a sole scan."""
    data = bytearray(data)
    frame, scan = (data.index(bytes([0xFF, marker])) for marker in (0xC0, 0xDA))
    for k, name in enumerate(names):
        data[frame + 10 + 3 * k] = data[scan + 5 + 2 * k] = name
    return bytes(data)


@pytest.mark.parametrize("names", [b"\1\2\3", b"RGB", b"\0\1\2", b"abc"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_markers_that_name_the_colours_and_contradict(read, names, subsampling):
    for pixels in (NOISE[:33, :17], SMOOTH[:64, :48]):
        bare = with_names(without_markers(saved(pixels, subsampling=subsampling)), names)
        markers = [b"", JFIF, *(adobe(k) for k in range(4)), *(JFIF + adobe(k) for k in range(4)), adobe(0) + JFIF]
        for marker in markers:
            same(read, bare[:2] + marker + bare[2:], (names, marker))


@pytest.mark.parametrize("transform", [None, 0, 1, 2, 3])
def test_inks(read, transform):
    for pixels in pictures():
        inks = Image.fromarray(np.dstack([pixels, pixels[..., 1]]), "CMYK")
        for options in ({}, {"progressive": True}):
            bare = without_markers(saved(inks, quality=95, **options))
            marker = b"" if transform is None else adobe(transform)
            same(read, bare[:2] + marker + bare[2:], (pixels.shape, options))


def test_grey_of_any_sampling(read):
    for pixels in pictures():
        for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
            data = bytearray(saved(pixels[..., 0].copy(), **options))
            at = data.index(b"\xff\xc2" if "progressive" in options else b"\xff\xc0") + 11
            assert data[at] == 0x11
            for factors in (0x11, 0x22, 0x21, 0x14):
                data[at] = factors
                same(read, bytes(data), (pixels.shape, options, factors))


def test_fill_bytes_and_bytes_before_markers(read):
    data = saved(SMOOTH[:40, :40])
    at = data.index(b"\xff\xdb")
    same(read, data[:at] + b"\xff" * 7 + data[at:])
    # Decoders pass over what stands between two segments.
    same(read, data[:at] + b"\0\1\2" + data[at:])


def test_what_lies_behind_the_end_belongs_to_others(read):
    data = saved(SMOOTH[:48, :48], progressive=True)
    whole = read(data)
    rng = np.random.default_rng(1)
    video = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + rng.bytes(300_000)
    for tail in (b"\xff\xda", b"\xff\xd9", b"\xff", b"\0", data[:100], data + data[:50], video, b"\xff\xd8\xff\xda\0"):
        assert np.array_equal(read(data + tail), whole)


def test_an_end_inside_a_segment_ends_nothing(read):
    data = saved(SMOOTH[:48, :48])
    thumbnail = segment(0xE1, b"Exif\0\0" + saved(SMOOTH[:8, :8]))
    assert np.array_equal(read(data[:2] + thumbnail + data[2:]), read(data))
    cut = data[:2] + thumbnail + data[2:-2]
    refusal(ValueError, lambda: read(cut), "truncated")


def test_truncated(read):
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        data = saved(NOISE[:64, :64], **options)
        for length in range(2, len(data), 97):
            refusal(ValueError, lambda part=data[:length]: read(part), "cannot be decoded")
        # A part of a scan, and then an end.
        half = data[: len(data) * 2 // 3]
        if not options:
            refusal(ValueError, lambda half=half: read(half + b"\xff\xd9"), "cannot be decoded")


def test_what_pillow_refuses_is_no_picture_here(read):
    data = bytearray(saved(NOISE[:32, :32], subsampling="4:4:4"))
    frame = data.index(b"\xff\xc0")
    for at, value, word in ((frame + 4, 12, "12"), (frame + 9, 2, "2"), (frame + 11, 0x31, "broken data")):
        changed = data.copy()
        changed[at] = value
        if at == frame + 11:
            changed[at + 3] = 0x21  # Three to two has no whole factor.
        with pytest.raises((OSError, SyntaxError)):
            Image.open(io.BytesIO(changed)).load()
        with pytest.raises(ValueError, match="cannot be decoded") as caught:
            read(bytes(changed))
        assert word in str(caught.value)
