"""Folders that are parts of a data set, by their names."""

from __future__ import annotations

import pytest

from normbench.datasets.parts import hints_at, may_be_class, part_of

TRAIN = ["train", "Train", "TRAINING", "train1", "training_set", "Training Set", "train-images",
         "trainset", "train2017", "images_train", "01_train", "trainval"]  # fmt: skip
ASIDE = ["test", "testing", "Test1", "test_set", "TESTSET", "val", "valid", "validation", "val_set",
         "validation-images", "eval", "Evaluation", "dev", "Dev-Set", "holdout", "hold_out",
         "Hold-Out", "held out", "unlabeled", "img_val", "test_data_2"]  # fmt: skip
CLASSES = ["cat", "Cats", "setter", "developer", "tester", "contest", "trainer", "devil",
           "value", "evaluator", "image", "images", "set", "data", "", "123", "训练", "Über",
           "trains", "train_station", "crash test"]  # fmt: skip


@pytest.mark.parametrize("name", TRAIN)
def test_folders_to_train_on(name):
    assert part_of(name) == "train"


@pytest.mark.parametrize("name", ASIDE)
def test_folders_to_leave_aside(name):
    assert part_of(name) == "aside"
    assert not may_be_class(name)


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_classes_are_free(name):
    assert part_of(name) is None
    assert may_be_class(name)


def test_a_train_is_a_thing_too():
    assert may_be_class("train")
    assert may_be_class("Train")
    assert not may_be_class("training")


def test_words_among_others_hint():
    assert hints_at("kaggle_test") == "aside"
    assert hints_at("dogs-train") == "train"
    assert hints_at("train and test") == "aside"
    assert hints_at("contest") is None
