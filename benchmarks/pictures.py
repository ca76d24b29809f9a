"""Hold cagan's decoder to Pillow: for each format and kind the largest difference of a level, and the time.

    python benchmarks/pictures.py [--size W H] [--rounds N]

Prints a table in Markdown. The photo is scikit-image's astronaut. Both sides take turns; Pillow's time includes turning
upright and, for profiles, ImageCms. Kinds whose encoder is missing are left out: `cjpeg`, AVIF, pillow-heif, tifffile.
"""

import argparse
import io
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from cagan._cagan import read_picture
from PIL import Image, ImageCms, ImageOps, features

SRGB = ImageCms.createProfile("sRGB")


def saved(picture, kind, **options):
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def by_cjpeg(picture, *options):
    ppm = saved(picture, "PPM")
    return subprocess.run(["cjpeg", "-quality", "90", *options], input=ppm, capture_output=True, check=True).stdout


def by_tifffile(values, **options):
    import tifffile

    data = io.BytesIO()
    tifffile.imwrite(data, values, **options)
    return data.getvalue()


def profile():
    """Makes a profile of another space from Pillow's own: red and blue change places."""
    data = bytearray(ImageCms.ImageCmsProfile(SRGB).tobytes())
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, blue = tags[b"rXYZ"] + 4, tags[b"bXYZ"] + 4
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


def kinds(photo):
    """Yields format, kind and the file's bytes."""
    for name, subsampling in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
        for form, options in (("baseline", {}), ("progressive", {"progressive": True})):
            yield "JPEG", f"{form} {name}", saved(photo, "JPEG", quality=90, subsampling=subsampling, **options)
    yield "JPEG", "restart intervals", saved(photo, "JPEG", quality=90, restart_marker_rows=1)
    yield "JPEG", "grey", saved(photo.convert("L"), "JPEG", quality=90)
    yield "JPEG", "CMYK", saved(photo.convert("CMYK"), "JPEG", quality=90)
    yield "JPEG", "profile (matrix)", saved(photo, "JPEG", quality=90, icc_profile=profile())
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "JPEG", "turned by EXIF", saved(photo, "JPEG", quality=90, exif=exif)
    if shutil.which("cjpeg"):
        for sampling in ("4x1,1x1,1x1", "1x2,1x1,1x1", "3x1,1x1,1x1", "1x1,2x2,2x2", "2x2,2x1,1x2"):
            yield "JPEG", f"sampling {sampling}", by_cjpeg(photo, "-sample", sampling)
    clear = photo.copy()
    clear.putalpha(photo.convert("L"))
    grey16 = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
    for name, picture in (("RGB", photo), ("alpha", clear), ("palette", photo.quantize(99)), ("grey, 16 bits", grey16)):
        yield "PNG", name, saved(picture, "PNG", compress_level=1)
    yield "WebP", "lossy", saved(photo, "WEBP", quality=90)
    yield "WebP", "lossless", saved(photo, "WEBP", lossless=True, quality=1)
    yield "BMP", "RGB", saved(photo, "BMP")
    yield "GIF", "palette", saved(photo.quantize(99), "GIF")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"):
        yield "TIFF", f"RGB, {compression.removeprefix('tiff_')}", saved(photo, "TIFF", compression=compression)
    yield "TIFF", "CMYK", saved(photo.convert("CMYK"), "TIFF")
    yield "TIFF", "palette", saved(photo.quantize(99), "TIFF")
    yield "TIFF", "BigTIFF", saved(photo, "TIFF", big_tiff=True)
    yield "TIFF", "profile (matrix)", saved(photo, "TIFF", icc_profile=profile())
    try:
        wide = np.asarray(photo, np.uint16) * 257
        apart = np.ascontiguousarray(np.moveaxis(np.asarray(photo), -1, 0))
        yield "TIFF", "RGB, 16 bits", by_tifffile(wide, photometric="rgb")
        yield "TIFF", "tiles", by_tifffile(np.asarray(photo), photometric="rgb", tile=(64, 64))
        yield "TIFF", "planes", by_tifffile(apart, photometric="rgb", planarconfig="separate")
    except ImportError:
        pass
    if features.check("avif"):
        yield "AVIF", "RGB", saved(photo, "AVIF", quality=90)
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        yield "HEIC", "RGB", saved(photo, "HEIF", quality=90)
    yield "JPEG 2000", "RGB", saved(photo, "JPEG2000")


def by_pillow(path):
    """Decodes with Pillow alone: upright, sRGB, on white."""
    with Image.open(path) as picture:
        icc = picture.info.get("icc_profile")
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            levels = np.rint(np.asarray(picture, np.float64) / 257)
            return np.repeat(levels[..., None], 3, 2)
        if "transparency" in picture.info or picture.mode.endswith("A"):
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        elif icc:
            own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            picture = ImageCms.profileToProfile(picture, own, SRGB, outputMode="RGB")
        return np.asarray(picture.convert("RGB"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs=2, type=int, default=(768, 1024), metavar=("W", "H"))
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    from skimage import data

    photo = Image.fromarray(data.astronaut()).resize(tuple(options.size), Image.Resampling.LANCZOS)
    print("| format | kind | largest difference | cagan ms | Pillow ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        for name, kind, content in kinds(photo):
            path.write_bytes(content)
            far = np.abs(read_picture(path) - by_pillow(path).astype(float)).max()
            times = ([], [])
            for _ in range(options.rounds):
                for decode, spent in zip((read_picture, by_pillow), times):
                    began = time.perf_counter()
                    decode(path)
                    spent.append(1000 * (time.perf_counter() - began))
            ours, theirs = map(statistics.median, times)
            print(f"| {name} | {kind} | {far:.0f} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} |", flush=True)


if __name__ == "__main__":
    main()
