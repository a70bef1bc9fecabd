"""The engines by name, and which runs one of them trains as one computation."""

from __future__ import annotations

from collections.abc import Sequence

from normbench.plan.execution import EngineSpec
from normbench.plan.spec import RunSpec
from normbench.training.data import Prepared
from normbench.training.engine import Engine


def units(spec: EngineSpec, runs: Sequence[RunSpec]) -> list[Sequence[RunSpec]]:
    """The runs of a group in portions that the engine trains as one computation each."""
    return [[run] for run in runs] if spec.name == "plain" else [runs]


def make_engine(
    spec: EngineSpec, runs: Sequence[RunSpec], data: Prepared, device: str = "cpu"
) -> Engine:
    """An engine for one of :func:`units`; engines are imported when they are first used.

    Raises ``ValueError`` for a name or a variant that there is not,
    :class:`~normbench.models.packed.graph.UnsupportedError` for a net that has no packed form, and
    what building the network raises.
    """
    if spec.name == "plain":
        from normbench.training.plain import PlainEngine

        return PlainEngine(runs[0], data, device, spec.variant)
    if spec.name == "packed":
        from normbench.training.packed import PackedEngine

        return PackedEngine(runs, data, device, spec.variant)
    if spec.name == "stacked" and not spec.variant:
        from normbench.training.stacked import StackedEngine

        return StackedEngine(runs, data, device)
    raise ValueError(f"there is no engine {spec.name!r} with the variant {spec.variant!r}")
