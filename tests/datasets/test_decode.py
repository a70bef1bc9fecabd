"""One photo: every mode and orientation, and torchvision's own resizing as the reference."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from normbench.datasets.decode import UnreadableError, read_photo
from normbench.errors import UsageError
from tests.datasets.conftest import picture, save


def check_plain(path, colour, resolution=32):
    """All pixels of the decoded photo are near this colour."""
    found = read_photo(path, resolution)
    assert found.shape == (3, resolution, resolution)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - np.array(colour)[:, None, None]).max() <= 3


def reference(path, resolution):
    """By torchvision's transforms, as the chapter uses them."""
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    steps = Compose([Resize(round(resolution * 255 / 224)), CenterCrop(resolution), PILToTensor()])
    with Image.open(path) as image:
        return steps(image.convert("RGB")).numpy()


@pytest.mark.parametrize("resolution", [32, 64, 100, 224, 512])
@pytest.mark.parametrize(
    "size", [(500, 374), (374, 500), (300, 300), (255, 255), (37, 41), (640, 40), (7, 101), (1, 1)]
)
def test_a_picture_is_resized_and_cropped_as_by_torchvision(tmp_path, size, resolution):
    path = tmp_path / "a.bmp"
    picture(3, size).save(path)
    assert np.array_equal(read_photo(path, resolution), reference(path, resolution))


@pytest.mark.parametrize("size", [(1000, 20), (20, 801), (1, 40)])
def test_a_long_strip_is_resized_and_cropped_as_by_torchvision(tmp_path, size):
    path = tmp_path / "a.bmp"
    picture(3, size).save(path)
    difference = np.abs(read_photo(path, 64).astype(int) - reference(path, 64))
    assert difference.max() <= 2
    assert difference.mean() < 0.1


@pytest.mark.parametrize("resolution", [64, 224])
def test_photos_are_resized_and_cropped_as_by_torchvision(photos, resolution):
    paths = sorted(photos.rglob("*.jpg"))[::250]
    assert len(paths) >= 4
    for path in paths:
        assert np.array_equal(read_photo(path, resolution), reference(path, resolution))


def test_channels_are_red_green_blue(tmp_path):
    Image.new("RGB", (50, 40), (200, 100, 30)).save(tmp_path / "a.png")
    check_plain(tmp_path / "a.png", (200, 100, 30))


@pytest.mark.parametrize(
    ("mode", "colour", "name", "expected"),
    [
        ("L", 120, "a.jpg", (120, 120, 120)),
        ("L", 120, "a.png", (120, 120, 120)),
        ("1", 1, "a.png", (255, 255, 255)),
        ("LA", (120, 10), "a.png", (120, 120, 120)),
        ("RGBA", (200, 100, 30, 0), "a.png", (200, 100, 30)),
        ("CMYK", (55, 155, 225, 0), "a.jpg", (200, 100, 30)),
        ("CMYK", (55, 155, 225, 0), "a.tif", (200, 100, 30)),
        ("YCbCr", (120, 128, 128), "a.jpg", (120, 120, 120)),
        ("I;16", 120 * 257, "a.png", (120, 120, 120)),
        ("I;16", 65535, "a.tif", (255, 255, 255)),
        ("I", 120 * 257, "a.tif", (120, 120, 120)),
        ("RGB", (200, 100, 30), "a.webp", (200, 100, 30)),
        ("RGB", (200, 100, 30), "a.gif", (200, 100, 30)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, colour, name, expected):
    Image.new(mode, (50, 40), colour).save(tmp_path / name)
    check_plain(tmp_path / name, expected)


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_palettes_become_rgb(tmp_path, transparency):
    image = Image.new("RGB", (50, 40), (200, 100, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "P"
    check_plain(tmp_path / "a.png", (200, 100, 30))


def test_one_pixel_fills_the_picture(tmp_path):
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "a.png")
    check_plain(tmp_path / "a.png", (9, 8, 7), 224)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(tmp_path, orientation):
    upright = picture(5, (48, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = {  # what undoes the turn that EXIF asks for
        2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
        6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270",
    }  # fmt: skip
    stored = upright
    if orientation > 1:
        stored = upright.transpose(Image.Transpose[back[orientation]])
    stored.save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    found = read_photo(tmp_path / "turned.png", 32)
    assert np.array_equal(found, read_photo(tmp_path / "upright.png", 32))


def test_of_several_frames_the_first_is_taken(tmp_path):
    frames = [Image.new("RGB", (40, 40), c) for c in ((200, 100, 30), (0, 0, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    check_plain(tmp_path / "a.gif", (200, 100, 30))


def jpeg() -> bytes:
    content = io.BytesIO()
    picture(1, (200, 200)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"),
        (b"<html>404 not found</html>", "cannot identify"),
        (b"\x00" * 500, "cannot identify"),
        (jpeg()[: len(jpeg()) // 2], "truncated"),
        (jpeg()[:3], ""),
    ],
    ids=["empty", "html", "zeros", "half", "start"],
)
def test_what_is_no_whole_image_is_told_apart(tmp_path, content, said):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read_photo(path, 32)
    assert said in str(caught.value)
    assert "0x" not in str(caught.value)  # no memory addresses in a log that is compared


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000), ("I", -1)])
def test_pixels_of_unknown_range_are_refused(tmp_path, mode, value):
    Image.new(mode, (5, 5), value).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match="no known range"):
        read_photo(tmp_path / "a.tif", 32)


def test_a_panorama_costs_no_more_than_a_square(tmp_path):
    # resized whole, its longer side would have 1.3 million pixels
    Image.new("L", (10_000, 2), 77).save(tmp_path / "a.png")
    check_plain(tmp_path / "a.png", (77, 77, 77), 224)


def test_a_file_that_the_system_refuses_stops_everything(tmp_path, monkeypatch):
    path = save(tmp_path / "cat.1.jpg")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UsageError, match=r"cat\.1\.jpg cannot be read \(Permission denied\)"):
        read_photo(path, 32)
