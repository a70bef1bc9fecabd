"""One look for all figures: the same colour and marker for a norm wherever it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from normbench.analysis.labels import labels
from normbench.analysis.settings import Level, Setting
from normbench.figures.canvas import Key
from normbench.figures.render import colours, markers
from normbench.figures.scales import Floats

#: Dashes for what is told apart within a norm.
DASHES = ("", "6 3", "2 2", "8 2 2 2", "1 3")


@dataclass(frozen=True)
class Look:
    """Colours and markers by norm label, and what the settings of the tables are made of."""

    colour: dict[str, str]
    marker: dict[str, str]
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @classmethod
    def of(cls, norms: Sequence[str], settings: Mapping[str, Setting] | None = None) -> Look:
        """The look of a study with these norms and, by their texts, these settings.

        Variants of a norm get spare colours.

        Markers differ, too, so that colour is never the only difference.
        """
        known = list(dict.fromkeys(norms))
        return cls(colours(known), markers(known), settings or {})

    def setting(self, text: str) -> Setting:
        """The setting of that text; one that is not of the study is its own value."""
        unknown = Setting((("", Level(text)),) if text else ())
        return self.settings.get(text, unknown)

    def labels(self, texts: Sequence[str], most: int = 32) -> dict[str, str]:
        """Labels that tell settings apart, by their texts."""
        return labels([self.setting(text) for text in texts], most)

    def keys(self, norms: Sequence[str]) -> list[Key]:
        """Legend entries for norms."""
        return [Key(norm, self.colour[norm], self.marker[norm]) for norm in norms]


def beside(position: float, index: int, count: int, members: int) -> Floats:
    """Places of ``members`` dots side by side, in the part of a slot that one of ``count`` has."""
    width = 0.84 / count
    centre = position - 0.42 + width * (index + 0.5)
    spread = np.linspace(-0.36, 0.36, members) if members > 1 else np.zeros(members)
    return centre + width * spread
