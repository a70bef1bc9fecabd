"""A trained network with batch norm: is evaluation the problem, or training, or neither?

The same weights are evaluated on held-out items with the running statistics, with statistics that
are recomputed from training items, and with those of each batch (Wu & Johnson 2021,
arXiv:2105.07576). Where recomputed statistics lower the error, evaluation is the problem, and
recalibrating mends it. What recalibrating cannot mend is of training: batches whose statistics are
so noisy that the same weights do worse with them, as every step of the training did; or weights
that do better with their own batch's statistics than with any fixed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from normbench.catalog.target import use_root
from normbench.errors import UsageError, WorkError
from normbench.results.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor, nn

    from normbench.norms.batch import BatchNorm
    from normbench.protocol.study import Study
    from normbench.training.data import Part, Prepared

Floats = NDArray[np.float64]
Problem = Literal["evaluation", "noise", "mismatch", "none shown"]

#: Training items from which statistics are recomputed, at most.
SAMPLES = 4096
#: Below so many held-out items nothing is concluded: the tests need differences to stand on.
LEAST_ITEMS = 30


@dataclass(frozen=True)
class Scored:
    """Error (a share) and loss over the held-out items."""

    error: float
    loss: float


@dataclass(frozen=True)
class Compared:
    """How much higher the error of one evaluation is than that of another, over items.

    ``interval`` has the level 1 − ``alpha``, which is corrected for all comparisons of a diagnosis;
    None where too few items differ for a test, which ``refusal`` says. ``decided`` is the sign of
    a difference that the test shows, else 0.
    """

    batch_size: int
    difference: float
    interval: tuple[float, float] | None
    p: float | None
    alpha: float
    decided: int
    refusal: str = ""


@dataclass(frozen=True)
class Sized:
    """What a batch size gives: recomputed statistics and those of each batch."""

    batch_size: int
    recomputed: Scored
    batch: Scored
    running_over_recomputed: Compared
    recomputed_over_batch: Compared

    def noisy(self, margin: float) -> bool:
        """Whether its batches' statistics are shown to cost more than ``margin`` of error."""
        one = self.recomputed_over_batch
        return one.decided < 0 and one.interval is not None and one.interval[1] < -margin


@dataclass(frozen=True)
class Drift:
    """How far a layer's running statistics are from the recomputed ones, over its channels.

    ``shift`` is |μ_running − μ| / σ, ``ratio`` the ratio of the variances as a factor ≥ 1;
    ``noise`` holds, for each batch size, the standard deviation of a batch's mean in units of σ.
    """

    layer: str
    channels: int
    shift_median: float
    shift_largest: float
    ratio_median: float
    ratio_largest: float
    noise: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """What was found; ``problems`` is empty where there are few items, or nothing was learned.

    They are ``evaluation``: recomputed statistics lower the error; ``noise``: those of a batch
    raise it by more than ``margin``; ``mismatch``: those of a batch lower it.
    """

    items: int
    orders: int
    samples: int
    chance: float
    margin: float
    running: Scored
    sizes: tuple[Sized, ...]
    layers: tuple[Drift, ...]
    problems: tuple[Problem, ...]


def diagnose(
    study: Study, device: str = "cpu", *, orders: int = 8, alpha: float = 0.05, margin: float = 0.01
) -> tuple[Diagnosis, dict[str, Tensor]]:
    """Diagnose the network of a study with one experiment, at its batch sizes.

    ``orders`` is how many orders of the items batches are taken from, and ``margin`` the error that
    noise must cost at least to matter. Also gives the statistics
    recomputed at the largest batch size, by their names in the network's ``state_dict``. Raises
    :class:`UsageError` where the network has no batch norm, or the data are of another kind.
    """
    from normbench.models.make import made
    from normbench.training.data import prepare
    from normbench.training.evaluate import PlainEvaluator
    from normbench.training.per_item import chunks, in_orders, per_item, spread

    use_root(study.root)
    cells = {cell.batch_size: cell for cell in study.experiments[0].cells}
    sizes = sorted(cells)
    cell = cells[sizes[0]]
    data = prepare(cell, device)
    _check_data(data, sizes[-1])
    model = made(cell, data.shape, data.classes, 0, device).eval()
    evaluator = PlainEvaluator(model)
    if not evaluator.layers:
        raise UsageError(
            "the network has no batch norm whose statistics could be at fault: without it the same "
            "weights give the same outputs in training and in evaluation; likely fix: compare "
            "norms in it by a protocol (normbench init)"
        )
    parts = [data.validation, data.test]
    kept = evaluator.statistics()
    hits, losses = per_item(evaluator, parts)
    running = _scored(hits, losses)
    found: list[Sized] = []
    fresh: dict[str, Tensor] = {}
    alpha_each = alpha / (2 * len(sizes))
    noise: dict[int, list[float]] = {}
    train = data.train.first(SAMPLES)
    for size in sizes:
        items = train.first(max(size, len(train) // size * size)).whole_batches(size)
        with (
            spread(evaluator.layers, size) as noted,
            evaluator.recomputed(chunks(items, size), size),
        ):
            fresh = _named(model, evaluator.layers)
            recomputed = per_item(evaluator, parts)
            middle = evaluator.statistics()
        noise[size] = [
            float((s / v.clamp_min(1e-12).sqrt().cpu()).median())
            for s, (_, v) in zip(noted(), middle, strict=True)
        ]
        batch = in_orders(evaluator, parts, size, orders)
        found.append(
            Sized(
                size,
                _scored(*recomputed),
                _scored(*batch),
                _compared(size, recomputed[0] - hits, alpha_each),
                _compared(size, batch[0] - recomputed[0], alpha_each),
            )
        )
    names = [name for name, module in model.named_modules() if module in evaluator.layers]
    layers = [
        _drift(name, old, new, {size: noise[size][i] for size in sizes})
        for i, (name, old, new) in enumerate(zip(names, kept, middle, strict=True))
    ]
    items_held = len(hits)
    share = _majority(parts)
    return (
        Diagnosis(
            items_held, orders, len(train), 1 - share, margin, running, tuple(found), tuple(layers),
            _problems(found, items_held, share, margin),
        ),
        fresh,
    )  # fmt: skip


def _check_data(data: Prepared, largest: int) -> None:
    if data.task != "classification" or data.train.y.dim() != 1:
        raise UsageError("a network is diagnosed on classes, one for each item")
    held = min(len(data.validation), len(data.test))
    if held < largest:
        raise UsageError(
            f"batch size {largest} needs as many held-out items in validation and in test; the "
            f"smaller of both has {held}; likely fix: smaller --batch-sizes, or more data"
        )


def _problems(
    sizes: Sequence[Sized], items: int, share: float, margin: float
) -> tuple[Problem, ...]:
    """What the tests show. At chance everywhere, or with few items, nothing is concluded."""
    limit = share + 2 * (0.25 / items) ** 0.5
    errors = [s.batch.error for s in sizes] + [s.recomputed.error for s in sizes]
    if items < LEAST_ITEMS or all(1 - error <= limit for error in errors):
        return ()
    found: list[Problem] = []
    if any(s.running_over_recomputed.decided > 0 for s in sizes):
        found.append("evaluation")
    if any(s.noisy(margin) for s in sizes):
        found.append("noise")
    if any(s.recomputed_over_batch.decided > 0 for s in sizes):
        found.append("mismatch")
    return tuple(found) or ("none shown",)


def _compared(size: int, fewer_errors: Floats, alpha: float) -> Compared:
    """Compare two evaluations by the hits of each item, the second's less the first's."""
    from normbench.stats.compare import paired_difference

    result = paired_difference(fewer_errors, alpha=alpha)
    sign = 0
    if result.p is not None and result.interval is not None:
        low, high = result.interval
        sign = int(result.p <= alpha and (low > 0 or high < 0)) * (1 if result.estimate > 0 else -1)
    return Compared(
        size, float(fewer_errors.mean()), result.interval, result.p, alpha, sign,
        "too few items differ for a test" if result.refusal else "",
    )  # fmt: skip


def _majority(parts: Sequence[Part]) -> float:
    """The share of the largest class."""
    labels = np.concatenate([part.y.cpu().numpy() for part in parts])
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def _scored(hits: Floats, losses: Floats) -> Scored:
    return Scored(1 - float(hits.mean()), float(losses.mean()))


def _drift(
    name: str, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], noise: dict[int, float]
) -> Drift:
    (mean_was, variance_was), (mean, variance) = old, new
    spread = variance.double().clamp_min(1e-12).sqrt()
    shift = ((mean_was - mean).double().abs() / spread).cpu()
    log = (variance_was.double().clamp_min(1e-12) / variance.double().clamp_min(1e-12)).log().abs()
    ratio = log.exp().cpu()
    return Drift(
        name.removeprefix("net."), len(shift), float(shift.median()), float(shift.max()),
        float(ratio.median()), float(ratio.max()), noise,
    )  # fmt: skip


def _named(model: nn.Module, layers: Sequence[BatchNorm]) -> dict[str, Tensor]:
    """The present statistics of layers by their names in the user's own network."""
    found = {}
    for name, module in model.named_modules():
        if module in layers:
            inner = name.removeprefix("net.")
            found[f"{inner}.running_mean"] = module.running_mean.clone()
            found[f"{inner}.running_var"] = module.running_var.clone()
    return found


def save_recalibrated(weights: Path, statistics: dict[str, Tensor], output: Path) -> None:
    """Write the weights of a file with other running statistics, as safetensors.

    Raises :class:`WorkError` where the file cannot be written.
    """
    from safetensors.torch import save

    from normbench.models.own.weights import read_weights

    given = read_weights(weights)
    new = {}
    for name, tensor in given.items():
        own = name.removeprefix("module.")
        new[name] = statistics.get(own, tensor).to(tensor.dtype).cpu().contiguous()
    content = save(new)
    try:
        atomic_write(output, lambda file: file.write(content))
    except OSError as error:
        raise WorkError(f"cannot write {output}: {error.strerror}") from None
