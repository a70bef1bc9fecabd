"""What stands beside the pixels of a picture: read for its orientation alone, else done without.

Programs write malformed tags, wrong checksums and cut texts, and the pixels are sound all the same.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x112
#: Bytes of a whole number by the type of its tag: SHORT, LONG and those with a sign.
_WHOLE = {3: 2, 4: 4, 8: 2, 9: 4}
_XMP = re.compile(rb"""tiff:Orientation(?:="|='|>)\s*([1-8])\s*["'<]""")


def orientation(image: Image) -> int:
    """How a loaded image is to be turned, from 1 (as it is) to 8, by EXIF, else by XMP.

    Nothing else of its metadata is read, and what cannot be read counts as 1.
    """
    if hasattr(image, "tag_v2"):  # Pillow has turned a TIFF when it loaded it
        return 1
    return _turn_of(image.info)


def _turn_of(info: dict[Any, Any]) -> int:
    """The orientation that metadata say, named as Pillow names them."""
    exif = info.get("exif")
    if not isinstance(exif, bytes):
        exif = _from_text(info.get("Raw profile type exif"))
    return exif_orientation(exif) or _from_xmp(info) or 1


def _valid(value: Any) -> int | None:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, int) and 1 <= value <= 8 else None


def _from_text(text: Any) -> bytes:
    """EXIF that old programs write into a text of a PNG, in hexadecimal after three lines."""
    try:
        return bytes.fromhex("".join(str(text).split("\n")[3:]))
    except ValueError:
        return b""


def _from_xmp(info: dict[Any, Any]) -> int | None:
    for key in ("xmp", "XML:com.adobe.xmp"):
        text = info.get(key)
        if isinstance(text, str):
            text = text.encode(errors="replace")
        found = _XMP.search(text) if isinstance(text, bytes) else None
        if found:
            return int(found.group(1))
    return None


def exif_orientation(exif: bytes) -> int | None:
    """The orientation in EXIF bytes (from 1 to 8), or None where there is none to be read.

    The first directory is walked tag by tag; values that lie elsewhere are not followed.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    if exif[:2] not in (b"II", b"MM"):
        return None
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(exif[place : place + size], order)

    start, found = number(4, 4), None
    for i in range(number(start, 2)):
        place = start + 2 + 12 * i
        if place + 12 > len(exif):
            break
        if number(place, 2) == _ORIENTATION:
            size = _WHOLE.get(number(place + 2, 2)) if number(place + 4, 4) == 1 else None
            found = (_valid(number(place + 8, size)) if size else None) or 1
    return found


# -- doing without it -------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
#: Chunks of a PNG that decide its pixels: all others are ancillary. So is transparency
#: (``tRNS``), which is dropped in any case.
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
#: Those that hold texts, one of which may be EXIF or XMP.
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
#: Bytes of a packed text that are read: a small file may unfold to a huge one.
_LONGEST_TEXT = 1 << 20
#: Markers of a JPEG without a length: they stand alone.
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
#: Segments of a JPEG that decide its pixels although they are APPn: JFIF and Adobe name its
#: colours. With how they begin, and the bytes that they have at least.
_COLOURS = {0xE0: (b"JFIF", 14), 0xEE: (b"Adobe", 12)}


def without_metadata(content: bytes) -> bytes | None:
    """The same picture with its pixels and its orientation alone; None where that is unknown.

    JPEG, PNG, TIFF and WebP are known. Nothing of the pixels is changed: what was damaged stays so.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(_PNG):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _tiff(content)
    return None


def exif_of(turn: int) -> bytes:
    """EXIF bytes that say nothing but an orientation."""
    return b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([turn, 0]) + bytes(6)


def _jpeg(content: bytes) -> bytes:
    kept, exif, xmp, place = [content[:2]], b"", b"", 2
    while place + 4 <= len(content):
        if content[place] != 0xFF or content[place + 1] in (0x00, 0xFF):
            place += 1  # what is no marker is passed over, as libjpeg does
            continue
        marker = content[place + 1]
        if marker in _ALONE:
            place += 2
            continue
        if marker in (0xDA, 0xD9):  # the pixels begin
            break
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        body = content[place + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif += body
        if marker == 0xE1 and body.startswith(b"http:"):
            xmp += body
        begin, least = _COLOURS.get(marker, (b"", 1 << 16))
        apart = marker == 0xFE or 0xE0 <= marker <= 0xEF
        if not apart or (body.startswith(begin) and len(body) >= least):
            kept.append(content[place:end])
        place = end
    turn = exif_orientation(exif) or _from_xmp({"xmp": xmp}) or 1
    body = b"Exif\0\0" + exif_of(turn)
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    # after the first segments: JFIF comes first where there is one
    first = 2 if len(kept) > 1 and kept[1][1] == 0xE0 else 1
    return b"".join([*kept[:first], segment, *kept[first:], content[place:]])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _png(content: bytes) -> bytes:
    kept, place, info = [_PNG], len(_PNG), dict[Any, Any]()
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind, end = content[place + 4 : place + 8], place + 12 + size
        if kind == b"eXIf":
            info["exif"] = content[place + 8 : end - 4]
        if kind in _TEXTS:
            info |= _text(kind, content[place + 8 : end - 4])
        if kind in _PIXELS:
            kept.append(content[place:end])
        place = end
        if kind == b"IEND":
            break
    if len(kept) < 2:
        return content
    return b"".join([*kept[:2], _chunk(b"eXIf", exif_of(_turn_of(info))), *kept[2:]])


def _text(kind: bytes, body: bytes) -> dict[str, str]:
    """The keyword and the text of a PNG's chunk; nothing where it cannot be read."""
    key, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        rest = b"\0" + fields[2] if len(fields) == 3 else b""
    try:
        if packed:
            rest = zlib.decompressobj().decompress(rest[1:], _LONGEST_TEXT)
    except zlib.error:
        return {}
    return {key.decode("latin-1"): rest.lstrip(b"\0").decode("utf-8", errors="replace")}


def _webp(content: bytes) -> bytes:
    kept, place, exif, xmp = b"", 12, b"", b""
    while place + 8 <= len(content):
        kind = content[place : place + 4]
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        end = place + 8 + size + size % 2
        if kind == b"EXIF":
            exif = content[place + 8 : place + 8 + size]
        elif kind == b"XMP ":
            xmp = content[place + 8 : place + 8 + size]
        elif kind != b"ICCP":
            kept += content[place:end]
        place = end
    if kept.startswith(b"VP8X"):
        flags = kept[8] & ~0x2C | 0x08  # no colour profile, no XMP, but EXIF
        kept = kept[:8] + bytes([flags]) + kept[9:]
        body = exif_of(exif_orientation(exif) or _from_xmp({"xmp": xmp}) or 1)
        kept += b"EXIF" + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (4 + len(kept)).to_bytes(4, "little") + b"WEBP" + kept


#: Tags of a TIFF that decide its pixels and how they are turned.
_TIFF_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322,
     323, 324, 325, 332, 338, 339, 340, 341, 347, *range(512, 522), 529, 530, 531, 532}
)  # fmt: skip


def _tiff(content: bytes) -> bytes:
    order: Literal["little", "big"] = "little" if content[:1] == b"I" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(content[place : place + size], order)

    start = number(4, 4)
    entries = [content[start + 2 + 12 * i :][:12] for i in range(number(start, 2))]
    kept = [e for e in entries if int.from_bytes(e[:2], order) in _TIFF_TAGS and len(e) == 12]
    # in the place of the old directory, which was longer: nothing else moves
    directory = len(kept).to_bytes(2, order) + b"".join(kept) + bytes(4)
    return content[:start] + directory + content[start + len(directory) :]
