"""One photo: read, turned upright, as RGB, resized and cropped as torchvision does it."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.hashes import read_bytes
from normbench.datasets.layouts import LARGEST
from normbench.datasets.metadata import orientation, without_metadata
from normbench.datasets.names import printable
from normbench.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image


#: Pictures longer than this many times their width are resized in the middle alone.
LONGEST = 16
#: How a picture of each orientation becomes upright; one of 1 is.
_TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip


class UnreadableError(Exception):
    """A file whose content is no image that can be used, with the reason."""


def read_photo(path: Path, resolution: int, sha256: str = "") -> NDArray[np.uint8]:
    """The photo as uint8 of shape (3, resolution, resolution), channels red, green, blue.

    Raises :class:`UnreadableError` where the content is not that of an image (empty, truncated,
    another kind of file), and :class:`UsageError` where the operating system does not give the
    content, or gives another than that of the digest ``sha256``: that is not the photo's fault,
    and leaving it out would change the data set.

    Where a picture cannot be read, and can without its metadata, the metadata were to blame.
    """
    content = read_bytes(path)
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise UsageError(
            f"{printable(path)} changed while the photos were read; likely fix: run the same "
            "command again once nothing writes there"
        )
    if not content:
        raise UnreadableError("empty file")
    if len(content) > LARGEST:
        raise UnreadableError(f"more than {LARGEST >> 20} MiB")
    try:
        return _decoded(content, resolution)
    except UnreadableError:
        bare = without_metadata(content)
        if bare is not None:
            with contextlib.suppress(UnreadableError):
                return _decoded(bare, resolution)
        raise


def _decoded(content: bytes, resolution: int) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return crop(upright_rgb(image), resolution)
    except UnreadableError:
        raise
    except MemoryError:
        raise
    # Pillow's readers raise almost any exception on damaged content
    except Exception as error:
        reason = str(error).split("<_io")[0].strip()  # without the memory address
        raise UnreadableError(f"{type(error).__name__}: {reason}") from error


def upright_rgb(image: Image) -> Image:
    """The image turned as its EXIF says, as 8-bit RGB.

    Grey levels of 16 bits (modes ``I``, ``I;16``) are scaled to 8 bits, not clipped as Pillow
    would; transparency is dropped, as torchvision's loader does. Of several frames the first is
    taken. Raises :class:`UnreadableError` for grey levels beyond 16 bits and for
    floating-point pixels, whose range nobody tells.
    """
    from PIL import Image

    image.load()  # some formats tell their metadata only at their end
    turn = _TURNS.get(orientation(image))
    if turn is not None:
        image = image.transpose(Image.Transpose[turn])
    if image.mode == "F":
        raise UnreadableError("floating-point pixels have no known range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values: NDArray[Any] = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableError("grey levels beyond 16 bits have no known range")
        grey = np.rint(values.astype(np.float64) / 257.0).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def crop(image: Image, resolution: int) -> NDArray[np.uint8]:
    """torchvision's ``Resize(255)`` and ``CenterCrop(224)``, scaled to ``resolution``.

    The shorter side becomes round(resolution · 255 / 224) by bilinear interpolation with
    antialiasing, and the middle is cut out: equal to torchvision's to the last bit. Only of
    pictures longer than ``LONGEST`` times their width are the middle's pixels computed alone
    (within two grey levels of the same), so that a strip of one pixel cannot fill the memory.
    """
    from PIL import Image

    width, height = image.size
    side = round(resolution * 255 / 224)
    if width <= height:
        wide, tall = side, int(side * height / width)
    else:
        wide, tall = int(side * width / height), side
    left, top = round((wide - resolution) / 2.0), round((tall - resolution) / 2.0)
    right, bottom = left + resolution, top + resolution
    bilinear = Image.Resampling.BILINEAR
    if max(wide, tall) <= LONGEST * side:
        small = image.resize((wide, tall), bilinear).crop((left, top, right, bottom))
    else:
        across, down = width / wide, height / tall
        box = left * across, top * down, right * across, bottom * down
        small = image.resize((resolution, resolution), bilinear, box=box)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
