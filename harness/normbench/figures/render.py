"""One style for all figures, and their rendering as SVG text that fits light and dark pages."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from normbench.catalog import NORMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours that remain apart for colour-blind readers (Okabe & Ito 2008).
GREY, VERMILION, BLUE, GREEN, PURPLE = "#7f7f7f", "#d55e00", "#0072b2", "#009e73", "#cc79a7"
_SPARE = (
    "#56b4e9", "#8c564b", "#6a3d9a", "#17becf", "#a6761d", "#e7298a", "#332288", "#999933",
    "#882255",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# Ink that the page decides: replaced by currentColor, so that text follows dark mode.
_INK = "#010203"
_FAINT = "#808080"

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "normbench",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.6,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def colours(norms: Sequence[str]) -> dict[str, str]:
    """A colour per norm label, the same in every figure: that of the norm's entry.

    Variants of a norm get spare ones, and so do norms without a colour, or with another's.
    """
    found: dict[str, str] = {}
    for norm in norms:
        colour = NORMS[norm].colour if norm in NORMS else ""
        if colour and colour not in found.values():
            found[norm] = colour
    left = [colour for colour in _SPARE if colour not in found.values()] or list(_SPARE)
    spare = itertools.cycle(left)
    return {norm: found.get(norm) or next(spare) for norm in norms}


def markers(norms: Sequence[str]) -> dict[str, str]:
    """A marker per norm label, so that colour is never the only difference."""
    return {norm: MARKERS[i % len(MARKERS)] for i, norm in enumerate(norms)}


@contextmanager
def styled() -> Iterator[None]:
    """Draw within this context to get the figures' style."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def to_svg(figure: Figure, label: str) -> str:
    """A figure as an ``<svg>`` element with an accessible name; equal figures, equal text."""
    from html import escape

    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    with styled():  # the style decides how text and ids are written, too
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    # the page scales the figure down, never up: its size becomes a maximum
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(
        r'(<svg[^>]*?) width="([^"]*)"', r'\1 style="max-width: \2; width: 100%"', text, count=1
    )
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)


def unique_ids(svg: str, prefix: str) -> str:
    """Make the ids inside an SVG unique within a page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    return re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
