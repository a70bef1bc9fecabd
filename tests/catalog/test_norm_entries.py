"""What a norm's catalogue entry says of it beside its code: its name in sentences, its colour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from normbench.catalog import NORMS, Entry
from normbench.catalog.entries import fault_of

ENTRY = Entry("package:build", "a norm")


def test_every_built_in_norm_has_a_name_and_no_colour_is_used_twice() -> None:
    assert all(NORMS[name].title for name in NORMS.complete if NORMS.built_in(name))
    named = [entry.colour for entry in NORMS.values() if entry.colour]
    assert len(named) == len(set(named)) >= 6


@pytest.mark.parametrize("setting", [{"title": "a norm"}, {"colour": "#0af010"}, {}])
def test_a_sound_entry_is_taken(setting: dict[str, Any]) -> None:
    assert fault_of(replace(ENTRY, **setting)) is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"title": 3}, "its title must be a text"),
        ({"title": "two\nlines"}, "its title must be a text"),
        ({"title": "x" * 81}, "at most 80 characters"),
        ({"colour": "red"}, "such as #d55e00"),
        ({"colour": "#d55e00;fill:none"}, "such as #d55e00"),
        ({"colour": 5}, "such as #d55e00"),
    ],
)
def test_an_unsound_one_is_refused(setting: dict[str, Any], said: str) -> None:
    assert said in str(fault_of(replace(ENTRY, **setting)))
