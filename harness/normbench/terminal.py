"""The terminal as rich draws on it, with texts taken as texts."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from normbench.streams import plain


class Terminal(Console):
    """Prints strings as they are: no markup, no emoji, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text without what could steer the terminal."""
        return super().render_str(plain(text), **options)
