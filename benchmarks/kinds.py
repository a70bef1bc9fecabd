"""The contenders by name: here, so that none of them needs to know of the others."""

from __future__ import annotations

from benchmarks.contenders import Contender, Peak, Script


def make(kind: str) -> Contender:
    """The contender of that name; only what it needs is imported, since others are timed, too."""
    if kind in ("a", "a'"):
        return Script(fused=kind == "a'")
    if kind == "peak":
        return Peak()
    if kind == "b":
        from benchmarks.with_lightning import Lightning

        return Lightning()
    from benchmarks.packed import Normbench

    return Normbench()
