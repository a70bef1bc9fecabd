"""Layouts: three are understood, and everything else gets the rule and a likely fix."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from normbench.datasets.layouts import Listing, check_classes, find_photos
from normbench.datasets.names import few_of, printable
from normbench.errors import DataMissingError, UsageError
from tests.datasets.conftest import LAYOUTS, save


def labels(listing: Listing) -> dict[str, str]:
    return {photo.name: photo.label for photo in listing.photos}


def refusal(folder: Path, kind: type[UsageError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        find_photos(folder)
    assert "likely fix" in str(caught.value)
    return str(caught.value)


def test_flat_files_are_named_after_their_class(tmp_path):
    LAYOUTS["flat"](tmp_path, 2)
    found = find_photos(tmp_path)
    assert labels(found) == {
        "cat.0.jpg": "cat", "cat.1.jpg": "cat", "dog.0.jpg": "dog", "dog.1.jpg": "dog",
    }  # fmt: skip
    assert found.root == tmp_path
    assert found.skipped == {}


def test_kaggles_train_folder_is_entered_and_its_test_photos_left_alone(tmp_path):
    LAYOUTS["kaggle"](tmp_path, 2)
    found = find_photos(tmp_path)
    assert found.root == tmp_path / "train"
    assert sorted(labels(found)) == ["cat.0.jpg", "cat.1.jpg", "dog.0.jpg", "dog.1.jpg"]


def test_a_test_folder_beside_flat_files_is_left_alone(tmp_path):
    LAYOUTS["flat"](tmp_path, 2)
    save(tmp_path / "test1" / "1.jpg")
    assert len(find_photos(tmp_path).photos) == 4


def test_microsofts_folders_are_the_classes(tmp_path):
    LAYOUTS["microsoft"](tmp_path, 2)
    (tmp_path / "PetImages" / "Cat" / "Thumbs.db").write_bytes(b"x")
    found = find_photos(tmp_path)
    assert labels(found) == {
        "Cat/0.jpg": "Cat", "Cat/1.jpg": "Cat", "Dog/0.jpg": "Dog", "Dog/1.jpg": "Dog",
    }  # fmt: skip
    assert found.skipped == {"Cat/Thumbs.db": "no image by its name's ending"}
    assert labels(find_photos(tmp_path / "PetImages")) == labels(found)


def test_any_folders_are_classes_sorted_by_name(tmp_path):
    for name in ("zebra", "ant", "Über", "train"):  # a train among other vehicles is a class
        for i in range(2):
            save(tmp_path / name / f"{i}.PNG")
    found = find_photos(tmp_path)
    assert found.classes == ["ant", "train", "zebra", "Über"]
    assert [p.name for p in found.photos] == sorted(p.name for p in found.photos)


def test_classes_within_a_train_folder(tmp_path):
    LAYOUTS["classes"](tmp_path / "train", 2)
    LAYOUTS["classes"](tmp_path / "validation", 2)
    assert find_photos(tmp_path).classes == ["cats", "dogs"]


def test_hidden_things_are_passed_over_and_odd_ones_listed(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    for name in (".DS_Store", "cats/.hidden.jpg", "__MACOSX/cats/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    found = find_photos(tmp_path)
    assert len(found.photos) == 4
    assert found.skipped == {
        "notes.txt": "no image by its name's ending", "empty/": "a folder without images",
    }  # fmt: skip


def test_size_and_time_are_those_of_the_file(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    photo = find_photos(tmp_path).photos[0]
    status = (tmp_path / photo.name).stat()
    assert (photo.size, photo.mtime_ns) == (status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("content", [{}, {"a.txt": b"x"}, {"cat/a.doc": b"x", "dog/b.doc": b"x"}])
def test_a_folder_without_images_is_refused(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    said = refusal(tmp_path, DataMissingError)
    assert "there is no image" in said
    assert "cat.12.jpg" in said
    assert ("nothing" in said) == (not content)


def test_a_file_for_a_folder_is_refused(tmp_path):
    path = tmp_path / "train.zip"
    path.write_bytes(b"PK")
    assert "unpack" in refusal(path)


def test_an_unreadable_folder_is_refused(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    said = refusal(tmp_path)
    assert "cannot be read (Permission denied)" in said
    assert str(tmp_path) in said


def test_a_link_to_nowhere_is_refused(tmp_path):
    LAYOUTS["flat"](tmp_path, 2)
    (tmp_path / "cat.9.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert "cat.9.jpg cannot be read" in refusal(tmp_path)


def test_mixed_layouts_are_refused(tmp_path):
    LAYOUTS["flat"](tmp_path, 2)
    LAYOUTS["classes"](tmp_path, 2)
    said = refusal(tmp_path)
    assert "mixed layouts" in said
    assert "cat.0.jpg" in said
    assert "cats, dogs" in said


def test_two_wrappers_are_refused(tmp_path):
    LAYOUTS["kaggle"](tmp_path, 2)
    LAYOUTS["microsoft"](tmp_path, 2)
    assert "mixed layouts" in refusal(tmp_path)


def test_unlabelled_files_are_refused(tmp_path):
    for i in range(7):
        save(tmp_path / f"{i}.jpg")
    said = refusal(tmp_path)
    assert "7 of 7 image files have no class in their names" in said
    assert "and 3 more" in said
    assert "train" in said


@pytest.mark.parametrize("name", ["plain.jpg", "..jpg"])
def test_one_unlabelled_file_among_labelled_ones_is_refused(tmp_path, name):
    LAYOUTS["flat"](tmp_path, 2)
    save(tmp_path / "plain.jpg")
    assert "1 of 5" in refusal(tmp_path)


def test_a_folder_too_far_up_is_refused_with_the_one_below(tmp_path):
    LAYOUTS["classes"](tmp_path / "data", 2)
    said = refusal(tmp_path)
    assert "wrong layout" in said
    assert str(tmp_path / "data") in said


def test_a_test_folder_among_the_classes_is_refused(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    save(tmp_path / "test" / "1.jpg")
    assert "'test' stands among the classes" in refusal(tmp_path)


def test_two_classes_of_two_items_are_the_least(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    found = find_photos(tmp_path)
    check_classes(found, (p.label for p in found.photos), "images")
    with pytest.raises(UsageError, match="one class only") as caught:
        check_classes(found, ["dogs"] * 5, "images")
    assert "cats: 0, dogs: 5" in str(caught.value)
    with pytest.raises(UsageError, match="fewer in 1 of 2 classes") as caught:
        check_classes(found, ["dogs", "dogs", "cats"], "readable images")
    assert "cats: 1" in str(caught.value)
    assert "at least 2 readable images" in str(caught.value)


def test_a_class_that_lost_all_its_items_is_not_forgotten(tmp_path):
    for name in "abc":
        save(tmp_path / name / "1.jpg")
    with pytest.raises(UsageError, match=r"\(c: 0\)"):
        check_classes(find_photos(tmp_path), ["a", "a", "b", "b"], "readable images")


def test_long_lists_are_cut():
    assert few_of("abcd") == "a, b, c, d"
    assert few_of("abcdef") == "a, b, c, d and 2 more"


def test_no_name_commands_a_terminal():
    assert printable("a\x1b[2J\n\udcff\u202e.jpg") == r"a\x1b[2J\n\xff\u202e.jpg"
    assert printable("Kätzchen 猫.jpg") == "Kätzchen 猫.jpg"


# -- parts of a data set ----------------------------------------------------------------------


@pytest.mark.parametrize("aside", ["testing", "eval", "dev", "HoldOut", "test_set", "Val"])
@pytest.mark.parametrize("train", ["train", "Training", "training_set"])
def test_parts_are_never_classes(tmp_path, train, aside):
    LAYOUTS["flat"](tmp_path / train, 2)
    for i in range(3):
        save(tmp_path / aside / f"{i}.jpg", i)
    found = find_photos(tmp_path)
    assert found.classes == ["cat", "dog"]
    assert found.root == tmp_path / train


def test_kaggles_cat_and_dog_is_nested_once_more(tmp_path):
    LAYOUTS["classes"](tmp_path / "training_set" / "training_set", 2)
    LAYOUTS["classes"](tmp_path / "test_set" / "test_set", 2)
    found = find_photos(tmp_path)
    assert found.classes == ["cats", "dogs"]
    assert found.root == tmp_path / "training_set" / "training_set"


@pytest.mark.parametrize(
    "names",
    [
        ("test", "val"),
        ("testing",),
        ("test_set", "dev", "eval"),
        ("dogs_train", "dogs_test"),
        ("train", "my_test"),
    ],
)
def test_parts_for_testing_alone_are_refused(tmp_path, names):
    for name in names:
        for i in range(2):
            save(tmp_path / name / f"{i}.jpg", i)
    said = refusal(tmp_path)
    assert "parts of a data set by their names, and no classes" in said


@pytest.mark.parametrize("name", ["dev", "Testing", "val_set", "training", "hold-out"])
def test_a_part_among_classes_is_ambiguous(tmp_path, name):
    for one in (name, "cats", "dogs"):
        for i in range(2):
            save(tmp_path / one / f"{i}.jpg", i)
    said = refusal(tmp_path)
    assert f"{name!r} stands among the classes" in said
    assert "another name" in said


def test_train_is_a_class_only_where_that_is_plain(tmp_path):
    for one in ("train", "car"):
        for i in range(2):
            save(tmp_path / one / f"{i}.jpg", i)
    assert "'train' stands among the classes" in refusal(tmp_path)
    for i in range(2):
        save(tmp_path / "bus" / f"{i}.jpg", i)
    assert find_photos(tmp_path).classes == ["bus", "car", "train"]
    for i in range(2):
        (tmp_path / "train" / f"{i}.jpg").unlink()
    LAYOUTS["flat"](tmp_path / "train", 2)
    assert "'train' stands among the classes" in refusal(tmp_path)


def test_flat_files_named_after_parts_are_refused(tmp_path):
    for name in ("train", "test"):
        for i in range(2):
            save(tmp_path / f"{name}.{i}.jpg", i)
    assert "'test', before the first dot" in refusal(tmp_path)


@pytest.mark.parametrize("aside", ["a_test_set", "dev", "0_eval"])
def test_no_hint_proposes_photos_for_testing(tmp_path, aside):
    LAYOUTS["classes"](tmp_path / aside, 2)
    LAYOUTS["classes"](tmp_path / "zoo", 2)
    said = refusal(tmp_path)
    assert str(tmp_path / "zoo") in said
    assert str(tmp_path / aside) not in said


def test_parts_within_classes_are_refused_with_what_helps(tmp_path):
    for name in ("cats", "dogs"):
        LAYOUTS["flat"](tmp_path / name / "train", 2)
        LAYOUTS["flat"](tmp_path / name / "test", 2)
    said = refusal(tmp_path)
    assert "put the photos of a class directly into its folder" in said
    assert "perhaps" not in said


# -- what is no photo -------------------------------------------------------------------------


def test_pipes_sockets_and_devices_are_skipped(tmp_path, monkeypatch):
    LAYOUTS["classes"](tmp_path, 2)
    os.mkfifo(tmp_path / "cats" / "cat.99.png")
    (tmp_path / "dogs" / "zero.png").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("cats/s.png")
        found = find_photos(tmp_path)
    assert len(found.photos) == 4
    why = "no file, but a pipe, a socket or a device"
    assert found.skipped == dict.fromkeys(
        ["cats/cat.99.png", "cats/s.png", "dogs/zero.png"], why
    )  # fmt: skip


def test_huge_files_are_skipped_unread(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    with (tmp_path / "cats" / "big.jpg").open("wb") as file:
        file.truncate(60 << 30)
    assert find_photos(tmp_path).skipped == {
        "cats/big.jpg": "61,440 MiB; a photo may have 256 MiB"
    }  # fmt: skip


def test_links_in_a_circle_are_passed_over(tmp_path):
    LAYOUTS["classes"](tmp_path, 2)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "self").symlink_to(".")
    (tmp_path / "cats" / "up").symlink_to("..")
    found = find_photos(tmp_path)
    assert found.classes == ["cats", "dogs"]
    assert sorted(found.skipped) == ["cats/up", "loop", "self"]
    (tmp_path / "cats" / "a.png").symlink_to("a.png")
    assert "cats/a.png cannot be read (Too many levels" in refusal(tmp_path)


def test_messages_hold_no_control_characters_and_are_bounded(tmp_path):
    root = tmp_path / "p"
    for i in range(300):
        save(root / f"\x1b[2J{'x' * 200}{i}\n.jpg", 0)
    said = refusal(root)
    assert all(c.isprintable() for c in said)
    assert len(said) < 1500
