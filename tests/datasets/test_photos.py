"""Photos from a folder: decoded once, whatever the layout, and nothing skipped in silence."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from normbench.catalog import DATASETS
from normbench.datasets import photos as module
from normbench.datasets.decode import read_photo
from normbench.datasets.photos import DOGS_VS_CATS, IMAGE_FOLDER
from normbench.errors import DataMissingError, UsageError
from tests.datasets.conftest import LAYOUTS, save


def params(path="", resolution=32, items=0):
    return {"path": str(path), "resolution": resolution, "items": items}


def load(path, dataset=DOGS_VS_CATS, **others):
    return dataset.load(params(path, **others))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_photos(tmp_path, layout):
    root = tmp_path / "photos"
    LAYOUTS[layout](root, 3)
    found = load(root)
    assert found.inputs.shape == (6, 3, 32, 32)
    assert found.inputs.dtype == np.uint8
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == np.int64
    assert found.classes == 2
    files = sorted(p for p in root.rglob("*.*g") if "test1" not in p.parts)
    for image, path in zip(found.inputs, files, strict=True):
        assert np.array_equal(image, read_photo(path, 32))


@pytest.mark.parametrize("resolution", [32, 64, 224])
def test_the_resolution_is_the_side(tmp_path, resolution):
    LAYOUTS["flat"](tmp_path / "p", 2)
    assert load(tmp_path / "p", resolution=resolution).shape == (3, resolution, resolution)


def test_any_classes_are_labels_in_order_of_their_names(tmp_path):
    for name in ("zebra", "ant", "bee"):
        for i in range(3):
            save(tmp_path / "p" / name / f"{i}.png", i)
    found = load(tmp_path / "p", IMAGE_FOLDER)
    assert found.classes == 3
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(UsageError, match="ant, bee, zebra") as caught:
        load(tmp_path / "p")
    assert "image-folder" in str(caught.value)


def test_fewer_items_are_a_stratified_part(tmp_path):
    LAYOUTS["flat"](tmp_path / "p", 10)
    whole, part = load(tmp_path / "p"), load(tmp_path / "p", items=8)
    assert np.bincount(part.labels).tolist() == [4, 4]
    known = {image.tobytes() for image in whole.inputs}
    assert len({image.tobytes() for image in part.inputs} & known) == 8
    assert whole.key != part.key
    again = load(tmp_path / "p", items=8, resolution=64)
    positions = [
        [one.tobytes() for one in all_.inputs].index(x.tobytes())
        for all_, some in ((whole, part), (load(tmp_path / "p", resolution=64), again))
        for x in some.inputs
    ]
    assert positions[:8] == positions[8:]  # the same photos at every resolution


@pytest.mark.parametrize(
    ("items", "said"), [(21, "must not exceed the 20 items"), (3, "at least 2 photos")]
)
def test_impossible_numbers_of_items_are_refused(tmp_path, items, said):
    LAYOUTS["flat"](tmp_path / "p", 10)
    with pytest.raises(UsageError, match=said):
        load(tmp_path / "p", items=items)


# -- where the photos lie ---------------------------------------------------------------------


def test_the_folder_is_the_parameter_the_variable_or_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("given", "mine/dogs-vs-cats", "data/dogs-vs-cats"):
        assert DOGS_VS_CATS.missing(params("given" if name == "given" else "")) is not None
        if name.startswith("mine"):
            monkeypatch.setenv("NORMBENCH_DATA", str(tmp_path / "mine"))
        LAYOUTS["flat"](tmp_path / name, 2)
        assert DOGS_VS_CATS.missing(params("given" if name == "given" else "")) is None
        assert len(load("given" if name == "given" else "").labels) == 4
        monkeypatch.delenv("NORMBENCH_DATA", raising=False)


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    LAYOUTS["flat"](tmp_path / "photos", 2)
    assert len(load("~/photos").labels) == 4


def test_missing_photos_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = DOGS_VS_CATS.missing(params())
    for words in ("data/dogs-vs-cats", "Kaggle", "PetImages", "NORMBENCH_DATA", "pets"):
        assert words in said
    with pytest.raises(DataMissingError, match="dogs-vs-cats is not on this machine"):
        load("")
    assert "no path is given" in IMAGE_FOLDER.missing(params())
    assert "nowhere" in IMAGE_FOLDER.missing(params("nowhere"))
    with pytest.raises(DataMissingError, match="image-folder"):
        load("", IMAGE_FOLDER)


# -- bad files --------------------------------------------------------------------------------


def microsofts_zip(root):
    """As in Microsoft's zip: an empty photo, one that is none, and Windows' thumbnails."""
    LAYOUTS["microsoft"](root, 4)
    cats, dogs = root / "PetImages" / "Cat", root / "PetImages" / "Dog"
    (cats / "666.jpg").write_bytes(b"")
    (dogs / "11702.jpg").write_bytes(b"BM not really")
    whole = (dogs / "0.jpg").read_bytes()
    (dogs / "50.jpg").write_bytes(whole[: len(whole) // 2])
    (cats / "Thumbs.db").write_bytes(b"x")
    return root


def test_bad_files_are_skipped_counted_and_listed(tmp_path):
    root = microsofts_zip(tmp_path / "p")
    for _ in range(2):  # from the folder, then from the cache
        found = load(root)
        assert found.labels.tolist() == [0] * 4 + [1] * 4
        assert found.skipped.files == 12
        reasons = found.skipped.reasons
        assert sorted(reasons) == [
            "Cat/666.jpg", "Cat/Thumbs.db", "Dog/11702.jpg", "Dog/50.jpg"
        ]  # fmt: skip
    log = next((tmp_path / "cache").glob("*.skipped.txt"))
    assert str(log) == found.skipped.listed_in
    lines = dict(line.split("\t") for line in log.read_text(encoding="utf-8").splitlines())
    assert lines == reasons
    assert lines["Cat/666.jpg"] == "empty file"
    assert "cannot identify" in lines["Dog/11702.jpg"]
    assert "truncated" in lines["Dog/50.jpg"].lower()


def test_without_bad_files_nothing_is_said(tmp_path):
    LAYOUTS["flat"](tmp_path / "p", 2)
    assert load(tmp_path / "p").skipped.reasons == {}
    assert not list((tmp_path / "cache").glob("*.txt"))


@pytest.mark.parametrize("left", [0, 1])
def test_too_few_readable_photos_are_refused(tmp_path, left):
    LAYOUTS["classes"](tmp_path / "p", 3)
    for path in sorted((tmp_path / "p" / "cats").iterdir())[left:]:
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match=f"cats?: {left}"):
        load(tmp_path / "p")
    assert not list((tmp_path / "cache").glob("*.images"))


def test_all_files_corrupt_is_refused(tmp_path):
    LAYOUTS["flat"](tmp_path / "p", 3)
    for path in (tmp_path / "p").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="none of the 6 image files") as caught:
        load(tmp_path / "p")
    assert "cannot identify" in str(caught.value)
    assert "likely fix" in str(caught.value)


def test_one_class_only_is_refused_before_any_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "read_photo", None)
    for i in range(3):
        save(tmp_path / "p" / f"cat.{i}.jpg")
    with pytest.raises(UsageError, match="one class only"):
        load(tmp_path / "p")


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "p").mkdir()
    assert DOGS_VS_CATS.missing(params(tmp_path / "p")) is None
    for dataset in (DOGS_VS_CATS, IMAGE_FOLDER):
        with pytest.raises(DataMissingError, match="no image"):
            load(tmp_path / "p", dataset)


def test_oddities_that_do_no_harm_are_no_warnings(tmp_path):
    root = tmp_path / "p"
    LAYOUTS["flat"](root, 2)
    path = root / "cat.0.jpg"
    content = path.read_bytes()
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\x00"  # it promises 255 entries
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path.write_bytes(content[:2] + segment + content[2:])
    assert len(load(root).labels) == 4


# -- decoding once ----------------------------------------------------------------------------


def test_photos_are_decoded_once_until_they_change(tmp_path, monkeypatch):
    root = tmp_path / "p"
    LAYOUTS["flat"](root, 3)
    first = load(root)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_photo", None)
        again = load(root)
    assert np.array_equal(first.inputs, again.inputs)
    assert first.key == again.key
    save(root / "cat.0.jpg", 99)  # changed
    changed = load(root)
    assert not np.array_equal(changed.inputs[0], first.inputs[0])
    assert np.array_equal(changed.inputs[1:], first.inputs[1:])
    save(root / "cat.7.jpg", 98)  # one more
    assert len(load(root).labels) == 7
    os.utime(root / "cat.7.jpg", ns=(1, 1))  # touched, and moved as a whole: as it was
    root.rename(tmp_path / "q")
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_photo", None)
        assert len(load(tmp_path / "q").labels) == 7
    assert len(list((tmp_path / "cache").glob("*.images"))) == 3


def test_the_key_names_the_photos_and_not_the_machine(tmp_path):
    LAYOUTS["flat"](tmp_path / "p", 3)
    shutil.copytree(tmp_path / "p", tmp_path / "q" / "train", copy_function=shutil.copyfile)
    one, other = load(tmp_path / "p"), load(tmp_path / "q")
    assert one.key == other.key
    keys = {one.key, load(tmp_path / "p", resolution=64).key, load(tmp_path / "p", items=4).key}
    assert len(keys) == 3
    (tmp_path / "q" / "train" / "cat.0.jpg").unlink()
    assert load(tmp_path / "q").key != one.key


def test_images_come_from_the_map(tmp_path):
    LAYOUTS["flat"](tmp_path / "p", 2)
    assert not load(tmp_path / "p").inputs.flags.owndata


def test_the_second_start_is_ten_times_faster(photos, tmp_path):
    names = sorted(photos.rglob("*.jpg"))
    root = tmp_path / "p"
    root.mkdir()
    for path in names[:150] + names[-150:]:
        (root / path.name).symlink_to(path)

    def seconds():
        started = time.perf_counter()
        load(root, resolution=224)
        return time.perf_counter() - started

    first, second = seconds(), min(seconds() for _ in range(3))
    assert first > 10 * second


def test_all_real_photos_are_found(photos):
    found = load(photos, resolution=32)
    assert (found.labels == 0).sum() > 1
    assert (found.labels == 1).sum() > 1
    # photos, not noise or constants
    assert 60 < found.inputs.mean() < 190
    assert found.inputs.std(axis=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("name", ["dogs-vs-cats", "image-folder", "pets"])
def test_the_catalogue_leads_here(name):
    assert DATASETS[name].load().missing is not None
    assert "resolution" in DATASETS[name].params
