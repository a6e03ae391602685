"""Files of images: how one is opened, and what becomes of its pixels."""

import io
import math
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aaekit._extras import require
from aaekit._files import shown
from aaekit._progress import Progress
from aaekit.data.checks import check_whole
from aaekit.data.decoded import Decoded, Facts, are_grey
from aaekit.data.store import memory_limit
from aaekit.errors import ImageWarning, InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm"),
    *(".heic", ".heif", ".avif"),
)
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "AVIF")  # of Pillow, by their content
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
LARGEST, SMALL = 64, 32  # pixels a side: up to the first, images of one size keep it; others get one of the two
MAX_PIXELS = 64_000_000  # of one image; a phone's photograph has 12 to 50 million
ALONE = 4_000_000  # pixels from which images are decoded one at a time, to save memory
DEPTHS = (8, 10, 12, 14, 16)  # bits that images in files of 16 bits fill
BLANK = 8  # grey values that an image must span to show something
MAX_LISTED = 100  # files that a message names
OPTIONS = ("bits", "max_pixels", "damaged", "memory_limit_bytes", "cache_dir")

_alone = threading.Lock()


@dataclass(frozen=True)
class Item:
    """An image of a set: its name as shown, its file or content, and the name of its class."""

    name: str
    source: Path | bytes
    label: str | None = None


@dataclass(frozen=True)
class Pictures:
    """What became of the files of a set of images.

    Attributes
    ----------
    sizes : dict
        How many images there are of each (width, height).
    bits : int
        The bits that images in files of 16 bits fill; 8 if there are no such files.
    left_out : tuple of (name, reason)
        The files that are no rows.
    remarks : tuple of (name, remark)
        What should be known about single images.
    """

    sizes: dict[tuple[int, int], int]
    bits: int = 8
    left_out: tuple[tuple[str, str], ...] = ()
    remarks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Look:
    """What is seen before decoding: (width, height) as turned; whether it is grey, and needs much memory."""

    size: tuple[int, int]
    grey: bool
    heavy: bool
    largest: int = 0  # of files of 16 bits
    remark: str = ""


def read_images(
    where: str,
    items: Sequence[Item],
    shape: Sequence[int] | None = None,
    bits: int | None = None,
    max_pixels: int = MAX_PIXELS,
    damaged: str = "refuse",
    left_out: Sequence[tuple[str, str]] = (),
    quiet: bool = False,
    memory_limit_bytes: int | None = None,
    cache_dir: str | Path | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Pictures]:
    """Return the images, shape (n, channels, height, width), which of the items they are, and what became of them.

    Parameters and errors are those of `read_folder`; `left_out` are files that are none of the items. If `quiet`, there
    are no warnings and no progress, and images are decoded into memory.
    """
    require("PIL", extra="data")
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise InputError(f"{where}: expected image_shape as (1 or 3 channels, height, width), got {tuple(shape)}")
    if bits is not None and bits not in DEPTHS:
        raise InputError(f"{where}: expected bits as one of {', '.join(map(str, DEPTHS))}, got {bits!r}")
    if damaged not in ("refuse", "skip"):
        raise InputError(f"{where}: expected damaged=refuse or damaged=skip, got {damaged!r}")
    check_whole(max_pixels, 1, "max_pixels")
    limit = memory_limit(memory_limit_bytes)
    may_be_large = not quiet and len(items) * math.prod(shape or (3, LARGEST, LARGEST)) > limit
    decoded = Decoded([item.source for item in items], shape, bits, max_pixels, cache_dir) if may_be_large else None
    facts, images = (None, None) if decoded is None else decoded.stored()
    if facts is None or images is None:
        with _without_limit(), ThreadPoolExecutor() as pool:
            decoder = _Decoder(items, shape, bits, max_pixels, pool)
            facts = decoder.facts
            if decoded is not None and (n_bytes := len(items) * math.prod(facts.shape)) > limit:
                warnings.warn(
                    f"{where}: {len(items)} images of {facts.shape} take {n_bytes / 1e9:.2g} GB, so they are decoded "
                    f"once, into {decoded.folder}; keep them in memory by memory_limit_bytes={n_bytes} "
                    "(--data-options)",
                    ImageWarning,
                    stacklevel=3,
                )
                images = decoded.made(decoder, skip=damaged == "skip", may_be_grey=shape is None)
            else:
                images = decoder.in_memory(quiet, may_be_grey=shape is None)
    bad = [(items[k].name, reason) for k, reason in sorted(facts.bad.items())]
    good = np.ones(len(items), bool)
    good[list(facts.bad)] = False
    if bad and (damaged == "refuse" or not good.any()):
        raise _cannot_be_read(where, bad, skippable=bool(good.any()))
    noted = [(items[k].name, text) for k, text in sorted(facts.remarks.items()) if good[k]]
    sizes = {(width, height): n for width, height, n in facts.sizes}
    pictures = Pictures(sizes, facts.depth if facts.has_depth else bits or 8, (*left_out, *bad), tuple(noted))
    if not quiet:
        _warn(where, pictures, guessed=bits is None and facts.has_depth and facts.depth < 16)
    return images, good, pictures


class _Decoder:
    """Decodes the images of a set to one shape, several at a time; what is seen and noted of them is in `facts`."""

    def __init__(
        self,
        items: Sequence[Item],
        shape: Sequence[int] | None,
        bits: int | None,
        max_pixels: int,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.items, self.max_pixels, self.pool = items, max_pixels, pool
        looks = list(pool.map(lambda item: _look(item, max_pixels, bits is None), items))
        seen = {k: look for k, look in enumerate(looks) if isinstance(look, _Look)}
        self.heavy = {k for k, look in seen.items() if look.heavy}
        self.size_of = {k: look.size for k, look in seen.items()}
        self.facts = Facts(
            _shape_of(shape or _common_shape(list(seen.values()))),
            bits or _depth(list(seen.values())),
            any(look.largest for look in seen.values()),
            [],
            {k: look for k, look in enumerate(looks) if isinstance(look, str)},
            {k: look.remark for k, look in seen.items() if look.remark},
        )

    def count_sizes(self) -> None:
        """Count the sizes of the images that can be read."""
        counts = Counter(size for k, size in self.size_of.items() if k not in self.facts.bad)
        self.facts.sizes = [(width, height, n) for (width, height), n in counts.items()]

    def decode(self, rows: Sequence[int], images: NDArray[np.uint8], progress: Progress | None = None) -> None:
        """Fill an array with some of the images, and note which cannot be read."""

        def read(place: int) -> None:
            k = rows[place]
            try:
                images[place], remark = _pixels(self.items[k], *self.facts.shape, self.facts.depth, self.max_pixels)
            except Unreadable as error:
                self.facts.bad[k] = str(error)
            else:
                self.facts.remarks.update({k: remark} if remark else {})

        heavy = [place for place, k in enumerate(rows) if k in self.heavy]
        light = [place for place, k in enumerate(rows) if k not in self.heavy]
        for _ in chain(self.pool.map(read, light), map(read, heavy)):  # the heavy ones one by one
            if progress is not None:
                progress.advance()

    def in_memory(self, quiet: bool, may_be_grey: bool) -> NDArray[np.uint8]:
        """Return all images that can be read, with one channel if they are grey."""
        rows = [k for k in range(len(self.items)) if k not in self.facts.bad]
        images = np.zeros((len(rows), *self.facts.shape), np.uint8)
        if quiet:
            self.decode(rows, images)
        else:
            with Progress("decoding", "images", len(rows)) as progress:
                self.decode(rows, images, progress)
        self.count_sizes()
        if any(k in self.facts.bad for k in rows):
            images = images[[k not in self.facts.bad for k in rows]]
        if may_be_grey and images.shape[1] == 3 and are_grey(images):
            images = images[:, :1].copy()
        return images


def _shape_of(shape: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def bits_of(where: str, items: Sequence[Item], max_pixels: int = MAX_PIXELS) -> int:
    """Return the bits that images in files of 16 bits fill, 8 if there are none; errors are those of `read_images`."""
    require("PIL", extra="data")
    with _without_limit(), ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda item: _look(item, max_pixels, True), items))
    if bad := [(item.name, look) for item, look in zip(items, looks, strict=True) if isinstance(look, str)]:
        raise _cannot_be_read(where, bad, skippable=False)
    return _depth([look for look in looks if isinstance(look, _Look)])


def _depth(looks: Sequence[_Look]) -> int:
    """The bits that hold the largest value of files of 16 bits."""
    return next(b for b in DEPTHS if max((look.largest for look in looks), default=0) < 2**b)


def _cannot_be_read(where: str, bad: Sequence[tuple[str, str]], skippable: bool) -> InputError:
    """The error that names every image that cannot be read."""
    skip = ", or leave out what is damaged: damaged=skip (--data-options)" if skippable else ""
    if len(bad) == 1:
        return InputError(
            f"{where}: {bad[0][0]}: expected an image that can be read, got one that cannot ({bad[0][1]}): repair or "
            f"remove it{skip}"
        )
    return InputError(
        f"{where}: expected images that can be read, got {len(bad)} that cannot, {grouped(bad)}: repair or remove "
        f"them{skip}"
    )


def _warn(where: str, pictures: Pictures, guessed: bool) -> None:
    """Say what was left out and what is not as a user may expect, in one line each."""
    if pictures.left_out:
        n = len(pictures.left_out)
        text = f"{where}: {n} {'file is' if n == 1 else 'files are'} left out: {grouped(pictures.left_out)}"
        warnings.warn(text, ImageWarning, stacklevel=4)
    if pictures.remarks:
        warnings.warn(f"{where}: {grouped(pictures.remarks)}", ImageWarning, stacklevel=4)
    if guessed:
        warnings.warn(
            f"{where}: files of 16 bits are read as {pictures.bits} bits, since no value is larger; choose by bits=16 "
            "(--data-options)",
            ImageWarning,
            stacklevel=4,
        )


def grouped(pairs: Iterable[tuple[str, str]], most: int = MAX_LISTED) -> str:
    """Return names with their reasons as text, the names of one reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in pairs:
        names.setdefault(reason, []).append(name)
    parts, n_left = [], most
    for reason, group in names.items():
        listed = group[: max(1, n_left)]
        more = f" and {len(group) - len(listed)} more" if len(group) > len(listed) else ""
        parts.append(f"{', '.join(listed)}{more} ({reason})")
        n_left -= len(listed)
    return "; ".join(parts)


def _common_shape(looks: Sequence[_Look]) -> tuple[int, int, int]:
    """The (channels, height, width) of images: their own if it is one and small, else a square."""
    sizes, grey = {look.size for look in looks}, all(look.grey for look in looks)
    if len(sizes) == 1 and max(map(max, sizes)) <= LARGEST:
        ((width, height),) = sizes
    else:
        usual = np.median([max(look.size) for look in looks] or [SMALL])
        width = height = LARGEST if usual >= LARGEST else SMALL
    return (1 if grey else 3), height, width


# --- one image -------------------------------------------------------------------------------------------------------
@contextmanager
def _without_limit() -> Iterator[None]:
    """Lift Pillow's own limit on pixels in the block; `open_image` has one that can be raised."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


class Unreadable(InputError):
    """An image cannot be read; the message is the reason alone."""


@contextmanager
def open_image(file: Path) -> Iterator["Image.Image"]:
    """Open an image, whatever its name, in a format that its content says.

    Raises
    ------
    InputError
        If it cannot be read, when it is opened or in the block; the message names the file.
    """
    try:
        with _reading(file, MAX_PIXELS) as image:
            yield image
    except Unreadable as error:
        raise InputError(
            f"{shown(file)}: expected an image that can be read, got one that cannot ({error}): repair or remove it"
        ) from error


@contextmanager
def _reading(source: Path | bytes, max_pixels: int) -> Iterator["Image.Image"]:
    """Open an image; what is wrong with it is raised as `Unreadable`, also from the block."""
    try:
        with _opened(source) as image:
            if (n := image.width * image.height) > max_pixels:
                raise Unreadable(f"{n} pixels, more than {max_pixels}: reduce it, or read it by max_pixels={n}")
            yield image
    except InputError:
        raise
    except Exception as error:  # of damaged files Pillow raises KeyError, struct.error and many more
        raise Unreadable(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why an image cannot be read, in a few words."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__


def _opened(source: Path | bytes) -> "Image.Image":
    from PIL import Image

    if isinstance(source, Path):
        if not source.is_file():
            raise Unreadable("no regular file" if source.exists() else "no such file")
        with open(source, "rb") as file:
            head = file.read(12)
    else:
        head = source[:12]
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        require("pillow_heif", extra="heic").register_heif_opener()
        formats.append("HEIF")
    return Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats)


def _look(item: Item, max_pixels: int, measure: bool) -> _Look | str:
    """What an image is, or why it cannot be read; `measure` finds the largest value of 16 bits."""
    try:
        with _reading(item.source, max_pixels) as image:
            # of a PNG without EXIF in front of its pixels, Pillow would decode all of it
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            size = (image.height, image.width) if exif.get(0x0112, 1) in (5, 6, 7, 8) else image.size
            pages = getattr(image, "is_animated", False) and image.format != "MPO"  # a photograph with its preview
            largest = 0
            if image.mode.startswith("I"):
                with _alone:
                    largest = _checked_depth(np.asarray(image)) if measure else 1
            heavy = image.width * image.height > ALONE and image.format not in ("JPEG", "MPO")
            return _Look(size, image.mode in GREY, heavy, largest, "the first of its pages is read" if pages else "")
    except Unreadable as error:
        return str(error)


def _pixels(
    item: Item, channels: int, height: int, width: int, bits: int, max_pixels: int
) -> tuple[NDArray[np.uint8], str]:
    """An image as (channels, height, width), and what should be known about it."""
    from PIL import ImageOps

    with _reading(item.source, max_pixels) as opened:
        largest = 2 * max(height, width)
        opened.draft(opened.mode, (largest, largest))  # a large JPEG is decoded no larger than needed
        ImageOps.exif_transpose(opened, in_place=True)
        image = _eight_bits(opened, item.source, bits)
        factor = min(image.width // (8 * width), image.height // (8 * height))
        if factor > 1 and image.width * image.height > ALONE and image.mode in ("L", "RGB", "RGBA"):
            image = image.reduce(factor)  # copies of the whole would take much memory
        image, remark = _opaque(image)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = _fitted(image, width, height)
    pixels = np.asarray(image)
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), remark


def _checked_depth(values: NDArray[Any]) -> int:
    """The largest of whole numbers of 16 bits."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2**16:
        raise Unreadable(f"values from {low} to {high}: convert them to 0..65535")
    return max(high, 1)


def _eight_bits(image: "Image.Image", source: Path | bytes, bits: int) -> "Image.Image":
    """An image of 8 bits a channel; of 16 bits it is assumed to fill `bits`."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if (high := _checked_depth(values)) >= 2**bits:
            raise Unreadable(f"a value of {high}, which {bits} bits do not hold: choose by bits=16 (--data-options)")
        return Image.fromarray((values.astype(np.uint32) * 255 // (2**bits - 1)).astype(np.uint8))
    if image.mode == "F":
        raise Unreadable("pixels that are floats of unknown range: convert it to 8 bits")
    n_colours = {"LA": 1, "RGB": 3, "RGBA": 3}.get(image.mode, 0)  # Pillow keeps the upper 8 bits of each
    if n_colours and _has_sixteen_bits(source) and np.asarray(image)[..., :n_colours].max() < 64:
        raise Unreadable("colours of 16 bits that fill less than 14 of them: convert it to 8 bits")
    return image


def _has_sixteen_bits(source: Path | bytes) -> bool:
    """Whether a PNG has 16 bits a channel."""
    if isinstance(source, Path):
        with open(source, "rb") as file:
            head = file.read(25)
    else:
        head = source[:25]
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:] == b"\x10"


def _opaque(image: "Image.Image") -> tuple["Image.Image", str]:
    """A transparent image on white, or on black if nothing would be seen of it, which is said."""
    from PIL import Image

    if not image.has_transparency_data:
        return image, ""
    image = image.convert("RGBA")
    on_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    is_white = np.asarray(on_white.convert("L")).min() > 255 - BLANK
    if is_white and np.ptp(np.asarray(image.getchannel("A"))) >= BLANK:
        black = Image.new("RGBA", image.size, "black")
        return Image.alpha_composite(black, image).convert("RGB"), "white on transparent, so it is put on black"
    return on_white, ""


def _fitted(image: "Image.Image", width: int, height: int) -> "Image.Image":
    """An image fitted into another size, centred on the median colour of its edge."""
    from PIL import Image, ImageOps

    w, h = image.size
    sides = [(0, 0, w, 1), (0, h - 1, w, h), (0, 0, 1, h), (w - 1, 0, w, h)]
    edge = np.concatenate([np.asarray(image.crop(side)).reshape(-1, len(image.getbands())) for side in sides])
    colour = tuple(np.median(edge, 0).astype(int).tolist())
    return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, colour)
