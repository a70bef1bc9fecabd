"""Malformed metadata cost no pixels: the orientation is read by itself, the rest done without."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normbench.datasets.decode import UnreadableError, read_photo
from normbench.datasets.metadata import exif_orientation, without_metadata
from tests.datasets.conftest import picture

PICTURE = picture(1, (64, 48))
#: A directory's entry that turns a picture by 6, in two orders of bytes.
TURN, TURN_BIG = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0), struct.pack(">HHIHH", 0x112, 3, 1, 6, 0)


def saved(kind: str, **options) -> bytes:
    content = io.BytesIO()
    PICTURE.save(content, kind, **options)
    return content.getvalue()


JPEG, PNG, TIFF = saved("JPEG"), saved("PNG"), saved("TIFF")
TURNED_TIFF = saved("TIFF", tiffinfo={0x112: 6})
WEBP = saved("WEBP", lossless=True)

ENTRIES = {
    "resolution as text": struct.pack("<HHI", 0x11A, 2, 3) + b"72\0\0",
    "resolution nowhere": struct.pack("<HHII", 0x11A, 5, 1, 0xFFFFFF0),
    "unknown type": struct.pack("<HHII", 0x11B, 99, 7, 5),
    "directory nowhere": struct.pack("<HHII", 0x8769, 4, 1, 0xFFFFFFF0),
    "directory as text": struct.pack("<HHI", 0x8769, 2, 3) + b"abc\0",
    "place as text": struct.pack("<HHI", 0x8825, 2, 3) + b"abc\0",
    "huge text": struct.pack("<HHII", 0x10F, 2, 0xFFFFFFFF, 0x7FFFFFFF),
    "maker's note": struct.pack("<HHII", 0x9286, 12, 3, 8),
}


def exif(*entries: bytes, count: int | None = None) -> bytes:
    number = struct.pack("<H", len(entries) if count is None else count)
    return b"II*\0\x08\0\0\0" + number + b"".join(entries) + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes, at: int = 2) -> bytes:
    return JPEG[:at] + b"".join(segments) + JPEG[at:]


def with_exif(*entries: bytes, count: int | None = None) -> bytes:
    return jpeg(segment(0xE1, b"Exif\0\0" + exif(*entries, count=count)))


def chunk(kind: bytes, body: bytes, checksum: bytes | None = None) -> bytes:
    right = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + (checksum or right)


def png(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def png_end(*chunks: bytes) -> bytes:
    return PNG[:-12] + b"".join(chunks) + PNG[-12:]


def tiff(content: bytes, entry: bytes) -> bytes:
    """The same picture with its directory at the end, and an entry more."""
    (start,) = struct.unpack("<I", content[4:8])
    (n,) = struct.unpack("<H", content[start : start + 2])
    entries = content[start + 2 : start + 2 + 12 * n] + entry
    head = content[:4] + struct.pack("<I", len(content)) + content[8:]
    return head + struct.pack("<H", n + 1) + entries + bytes(4)


def _cases() -> dict[str, tuple[bytes, bytes, bool]]:
    """By name: the content, a sound picture with the same pixels, and whether it is turned."""
    found = {}
    for name, entry in ENTRIES.items():
        found[f"jpeg {name} before"] = with_exif(entry, TURN), JPEG, True
        found[f"jpeg {name} after"] = with_exif(TURN, entry), JPEG, True
        found[f"tiff {name}"] = tiff(TIFF, entry), TIFF, False
        found[f"tiff turned {name}"] = tiff(TURNED_TIFF, entry), TIFF, True
        found[f"webp {name}"] = saved("WEBP", lossless=True, exif=exif(entry, TURN)), WEBP, True
        for place, write in (("first", png), ("last", png_end)):
            found[f"png {place} {name}"] = write(chunk(b"eXIf", exif(entry, TURN))), PNG, True
    jpegs = {
        "255 entries": (with_exif(TURN, count=255), True),
        "no EXIF": (jpeg(segment(0xE1, b"Exif\0\0garbage")), False),
        "empty EXIF": (jpeg(segment(0xE1, b"Exif\0\0")), False),
        "half a profile": (jpeg(segment(0xE2, b"ICC_PROFILE\0\1\2abc")), False),
        "no profile": (jpeg(segment(0xE2, b"ICC_PROFILE\0")), False),
        "no MPF": (jpeg(segment(0xE2, b"MPF\0junkjunk")), False),
        "half a Photoshop block": (jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03")), False),
        "short Adobe": (jpeg(segment(0xEE, b"Adobe")), False),
        "short JFIF": (JPEG[:2] + segment(0xE0, b"JFIF") + JPEG[20:], False),
        "a comment with markers": (jpeg(segment(0xFE, b"\xff\xd9\0\xff")), False),
        "bytes between segments": (jpeg(b"\0\0abc", at=20), False),
        "a segment of no length": (jpeg(b"\xff\xe5\0\0", at=20), False),
        "no XMP": (jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe\0<")), False),
        "XMP turns": (
            jpeg(segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')), True,
        ),
    }  # fmt: skip
    found |= {f"jpeg {name}": (content, JPEG, turned) for name, (content, turned) in jpegs.items()}
    bomb = b"a\0\0" + zlib.compress(bytes(100_000_000))
    for place, write in (("first", png), ("last", png_end)):
        chunks = {
            "checksum of a text": chunk(b"tEXt", b"a\0b", b"abcd"),
            "text of 100 MB": chunk(b"zTXt", bomb),
            "text that cannot be unpacked": chunk(b"zTXt", b"a\0\0junk"),
            "text packed otherwise": chunk(b"zTXt", b"a\0\7junk"),
            "profile": chunk(b"iCCP", b"a\0\7junk"),
            "checksum of a profile": chunk(b"iCCP", b"a\0\0" + zlib.compress(b"x"), b"0000"),
            **{f"short {k.decode()}": chunk(k, b"") for k in (b"gAMA", b"cHRM", b"pHYs", b"acTL")},
            **{f"checksum of {k.decode()}": chunk(k, b"\1", b"0000") for k in (b"tIME", b"abCd")},
        }
        found |= {f"png {place} {k}": (write(c), PNG, False) for k, c in chunks.items()}
    both = png(chunk(b"eXIf", exif(ENTRIES["huge text"], TURN)), chunk(b"tEXt", b"a\0b", b"abcd"))
    found["png turned with a wrong checksum"] = both, PNG, True
    return found


CASES = _cases()


def decoded(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    return read_photo(path, 32)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", CASES)
def test_metadata_cost_no_pixels(tmp_path, name):
    content, sound, turned = CASES[name]
    upright = Image.open(io.BytesIO(sound)).convert("RGB")
    if turned:
        upright = upright.transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "upright.png")
    expected = read_photo(tmp_path / "upright.png", 32)
    assert np.array_equal(decoded(tmp_path / "a", content), expected)


@pytest.mark.parametrize("content", [JPEG, PNG, TIFF, WEBP], ids=["jpeg", "png", "tiff", "webp"])
def test_without_metadata_the_pixels_are_the_same(tmp_path, content):
    bare = without_metadata(content)
    assert np.array_equal(decoded(tmp_path / "a", bare), decoded(tmp_path / "b", content))


@pytest.mark.parametrize("content", [JPEG, PNG, TIFF, WEBP], ids=["jpeg", "png", "tiff", "webp"])
def test_what_is_cut_stays_unreadable(tmp_path, content):
    with pytest.raises(UnreadableError):
        decoded(tmp_path / "a", content[: len(content) // 2])


def test_damaged_pixels_stay_unreadable(tmp_path):
    place = PNG.index(b"IDAT") + 40
    with pytest.raises(UnreadableError):
        decoded(tmp_path / "a", PNG[:place] + bytes(40) + PNG[place + 40 :])


@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_cut_exif_is_no_orientation_or_the_right_one(cut):
    assert exif_orientation(exif(TURN)[:cut]) in (None, 6)


def test_orientations_in_either_order_and_odd_values():
    assert exif_orientation(exif(TURN)) == 6
    big = b"MM\0*\0\0\0\x08\0\x01" + TURN_BIG + bytes(4)
    assert exif_orientation(b"Exif\0\0" + big) == 6
    assert exif_orientation(exif(struct.pack("<HHII", 0x112, 4, 1, 8))) == 8
    for odd in (0, 9, 60_000):
        assert exif_orientation(exif(struct.pack("<HHIHH", 0x112, 3, 1, odd, 0))) == 1
    assert exif_orientation(exif(struct.pack("<HHI", 0x112, 2, 2) + b"6\0\0\0")) == 1
    for nothing in (b"", b"II", b"II*\0\xff\xff\xff\xff", bytes(100)):
        assert exif_orientation(nothing) is None


def _chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    check = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def _segment(kind: int, body: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body


XMP = b'<rdf:Description tiff:Orientation="6"/>'
RAW = b"\nexif\n 26\n" + (b"II*\0\x08\0\0\0\x01\0" + TURN + bytes(6)).hex().encode()
#: Chunks of a PNG that turn the picture by 6, each without EXIF of its own.
TURNING = {
    "XMP": _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "packed XMP": _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    "EXIF as text": _chunk(b"tEXt", b"Raw profile type exif\0" + RAW),
    "EXIF as packed text": _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW)),
}


@pytest.mark.parametrize("turning", TURNING)
@pytest.mark.parametrize("broken", [b"", _chunk(b"tIME", bytes(7), 1), _chunk(b"tRNS", b"")])
def test_a_png_is_turned_whatever_else_is_damaged(tmp_path, turning, broken):
    path, plain = tmp_path / "a.png", tmp_path / "plain.png"
    path.write_bytes(PNG[:33] + TURNING[turning] + broken + PNG[33:])
    PICTURE.transpose(Image.Transpose.ROTATE_270).save(plain)
    np.testing.assert_array_equal(read_photo(path, 16), read_photo(plain, 16))


@pytest.mark.parametrize("broken", [b"", _segment(0xE2, b"MPF\0garbage"), _segment(0xEE, b"Adobe")])
def test_a_jpeg_is_turned_by_xmp_whatever_else_is_damaged(tmp_path, broken):
    path, plain = tmp_path / "a.jpg", tmp_path / "plain.jpg"
    xmp = _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    path.write_bytes(JPEG[:2] + xmp + broken + JPEG[2:])
    with_exif = _segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0" + TURN + bytes(6))
    plain.write_bytes(JPEG[:2] + with_exif + JPEG[2:])
    np.testing.assert_array_equal(read_photo(path, 16), read_photo(plain, 16))
