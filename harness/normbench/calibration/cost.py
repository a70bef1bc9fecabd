"""Which cells cost the same, so that one of them stands for all when steps are timed."""

from __future__ import annotations

from normbench.plan.spec import digest
from normbench.protocol.schema import Cell

#: Axes that change no operation of a step, so that cells which differ in them cost the same.
FREE = ("learning_rate", "lr_scaling", "lr_schedule", "lr_reference_batch", "epochs",
        "budget_steps", "budget_samples", "evaluations", "evaluations_per_epoch", "init",
        "input_norm", "input_units", "split_seed", "statistics_samples", "probes")  # fmt: skip


def cost_key(cell: Cell) -> str:
    """Equal for cells whose steps cost the same."""
    return digest(cell.model_dump(mode="json", exclude=set(FREE)))
