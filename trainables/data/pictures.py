"""Reads single image files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainables.data.base import DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION = 0x0112  # the tag that says how the camera was held
GROUND = 255  # what shows through transparent pixels: white


def read_image(
    path: Path,
    size: tuple[int, int] | None = None,
    square: int | None = None,
    content: bytes | None = None,
    like: tuple[str, tuple[int, int]] | None = None,
) -> NDArray[np.uint8]:
    """Read an image as uint8 CHW, upright. A greyscale file has one channel, any other file three.

    Transparent pixels are put on white. Whatever is resized is antialiased.

    Args:
        size: H, W that the image is resized to; None keeps its size.
        square: the side of a square that the middle of the image is resized to.
        content: of the file, if it lies within another one; `path` is its name then.
        like: name and H, W of another image. An image that is larger or smaller by its header is
            refused, before its pixels take memory.

    Raises:
        DataError: the file is no readable image of 8 bits per channel, or of another size.
    """
    from PIL import Image, UnidentifiedImageError  # takes 50 ms, so only where it is needed

    if content is None and not path.is_file():  # reading a pipe would block
        raise DataError(f"{path}: not a readable image (no file)")
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            head = file.read(30)
            if like and (claimed := _size_of_webp(head)):  # Pillow takes its memory in `open`
                _check_size(str(path), claimed, *like)
            if head[12:16] == b"VP8X" and head[20] & 2:  # takes several times that of a picture
                raise DataError(f"{path}: an animation: one picture is needed")
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                if like:
                    _check_size(str(path), (image.height, image.width), *like)
                return as_pixels(str(path), image, size, square)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable image (none of {', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged image raises errors of many types
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: not a readable image ({why})") from error


def other_size(name: str, size: Sequence[int], first: str, wanted: Sequence[int]) -> DataError:
    """The error that an image is not as large as the first one: H, W and H, W."""
    sizes = f"{size[0]}x{size[1]} but {first} is {wanted[0]}x{wanted[1]}"
    return DataError(f"{name} is {sizes}: give --image-size N")


def _check_size(name: str, size: tuple[int, int], first: str, wanted: tuple[int, int]) -> None:
    if sorted(size) != sorted(wanted):  # it may still have to be turned
        raise other_size(name, size, first, wanted)


def _size_of_webp(head: bytes) -> tuple[int, int] | None:
    """H, W by the first 30 bytes of a WebP file; None for any other file."""

    def number(start: int, end: int) -> int:
        return int.from_bytes(head[start:end], "little")

    kind = head[12:16] if head[:4] + head[8:12] == b"RIFFWEBP" else b""
    if kind == b"VP8X":
        return number(27, 30) + 1, number(24, 27) + 1
    if kind == b"VP8 ":  # two bits of each side are a scale
        return number(28, 30) & 0x3FFF, number(26, 28) & 0x3FFF
    if kind == b"VP8L":
        return (number(21, 25) >> 14 & 0x3FFF) + 1, (number(21, 25) & 0x3FFF) + 1
    return None


def as_pixels(
    where: str, image: Image.Image, size: tuple[int, int] | None, square: int | None
) -> NDArray[np.uint8]:
    """An image of Pillow as `read_image` returns it.

    Raises:
        DataError: it has more than 8 bits per channel, or is several pictures.
    """
    from PIL import Image, ImageOps

    mode = image.mode  # before the pixels are read
    if mode.startswith(("I", "F")):  # Pillow would clip such pixels to white
        raise DataError(f"{where}: {mode} pixels: 8 bits per channel are needed")
    # A camera's JPEG may have a preview behind the picture, which Pillow calls MPO.
    if (count := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise DataError(f"{where}: {count} pictures in one file: one is needed")
    plain = _opaque(ImageOps.exif_transpose(image), grey=mode in ("1", "L", "LA"))
    if square is not None:
        plain = ImageOps.fit(plain, (square, square), Image.Resampling.LANCZOS)
    if size is not None:
        plain = plain.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.array(plain, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _opaque(image: Image.Image, grey: bool) -> Image.Image:
    """The image without transparency, in grey or in colour."""
    from PIL import Image

    kind = "L" if grey else "RGB"
    if not image.has_transparency_data:
        return image.convert(kind)
    layered = image.convert("RGBA")
    ground = Image.new("RGBA", layered.size, (GROUND, GROUND, GROUND, 255))
    return Image.alpha_composite(ground, layered).convert(kind)


def image_shape(path: Path, upright: bool = True) -> tuple[int, int]:
    """H, W of an image.

    Args:
        upright: as it is shown. To tell that, Pillow may read all of it. False: as it is stored,
            from its header.

    Raises:
        DataError: the file is no readable image.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():  # reading a pipe would block
        raise DataError(f"{path}: not a readable image (no file)")
    try:
        with path.open("rb") as file:
            claimed = _size_of_webp(file.read(30))
        if claimed and not upright:  # Pillow takes its memory in `open`
            return claimed
        with Image.open(path, formats=FORMATS) as image:
            turned = upright and image.getexif().get(ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable image (none of {', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged image raises errors of many types
        raise DataError(f"{path}: not a readable image ({type(error).__name__})") from error
