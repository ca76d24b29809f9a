"""Pictures through Pillow: files that the core does not decode, and Pillow's own objects."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

# Mode, width, height, the pixels' bytes, EXIF's orientation, ICC profile. Modes: L, LA, RGB, RGBA, CMYK, I;16, I, F.
Parts = tuple[str, int, int, bytes, int, bytes | None]

# Without EPS, which runs a program, and formats that any bytes may pass for.
_FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "PSD"),
    *("QOI", "SGI", "TIFF", "WEBP"),
)
_ORIENTATION = 0x0112


def decode(data: bytes, most: int) -> Parts | None:
    """Decodes the first picture of a file's bytes, or returns None where Pillow does not know the format.

    Args:
        data: The file.
        most: The largest number of pixels.

    Raises:
        ValueError: The picture is larger, or of a kind without a conversion to RGB.
        OSError: The picture is broken.
    """
    from PIL import Image, UnidentifiedImageError

    if data[4:8] == b"ftyp":
        # An extra, which a user may lack.
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    try:
        picture = Image.open(io.BytesIO(data), formats=[name for name in _FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        return None
    with picture:
        width, height = picture.size
        if width * height > most:
            raise ValueError(f"expected at most {most} pixels, got {width} x {height}")
        return unpack(picture)


def unpack(picture: "Image") -> Parts:
    """Takes a picture of Pillow apart.

    Raises:
        ValueError: The picture is of a kind without a conversion to RGB.
        OSError: The picture's file is broken.
    """
    picture.load()
    # Its file may be closed after the pixels' conversion.
    orientation = _orientation(picture)
    profile = picture.info.get("icc_profile")
    mode, data = _pixels(picture)
    return mode, picture.width, picture.height, data, orientation, profile if isinstance(profile, bytes) else None


def webp(path: Path, picture: tuple[str, tuple[int, int], bytes], quality: int) -> bytes:
    """Encodes a picture as lossy WebP.

    Args:
        path: The file, which an error names.
        picture: Mode, width and height, bytes.
        quality: 1 to 100.

    Raises:
        ValueError: A side is too long for WebP, or Pillow was built without it.
    """
    from PIL import Image, features

    mode, (width, height), pixels = picture
    most = 16383
    if max(width, height) > most:
        raise ValueError(f"{path}: expected sides of at most {most} pixels for WebP, got {width} x {height}")
    if not features.check("webp"):
        raise ValueError(f"{path}: expected a Pillow with WebP to write it with loss, got one without")
    file = io.BytesIO()
    Image.frombytes(mode, (width, height), pixels).save(file, "WEBP", quality=quality)
    return file.getvalue()


def _orientation(picture: "Image") -> int:
    try:
        value: Any = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged entries raise whatever parsing them raises.
        value = getattr(picture, "tag_v2", {}).get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _pixels(picture: "Image") -> tuple[str, bytes]:
    mode = picture.mode
    if mode[0] in "IF":
        return _numbers(picture)
    transparent = "transparency" in picture.info
    if mode in ("1", "L"):
        mode = "LA" if transparent else "L"
    elif mode == "P":
        palette = picture.palette.mode if picture.palette else "RGB"
        mode = "RGBA" if transparent or palette.endswith("A") else "RGB"
    elif mode in ("La", "LA"):
        mode = "LA"
    elif mode in ("PA", "RGBa", "RGBA"):
        mode = "RGBA"
    elif mode == "LAB":
        return "RGB", _from_lab(picture).tobytes()
    elif mode != "CMYK":
        mode = "RGBA" if mode == "RGB" and transparent else "RGB"
    return mode, (picture if mode == picture.mode else picture.convert(mode)).tobytes()


def _numbers(picture: "Image") -> tuple[str, bytes]:
    """Takes grey numbers of 16 or 32 bits, of which the core knows what they mean."""
    import numpy as np

    values = np.asarray(picture)
    if not picture.mode.startswith("I;16"):
        return picture.mode, values.astype("<i4" if picture.mode == "I" else "<f4").tobytes()
    clear = picture.info.get("transparency")
    if not isinstance(clear, int):
        return "I;16", values.astype("<u2").tobytes()
    grey = np.rint(values / 257).astype(np.uint8)
    return "LA", np.stack([grey, np.where(values == clear, 0, 255).astype(np.uint8)], -1).tobytes()


def _from_lab(picture: "Image") -> "Image":
    from PIL import ImageCms

    lab, srgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
    converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    assert converted is not None, "not in place"
    return converted
