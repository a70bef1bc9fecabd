"""The probes. Their code is in :mod:`normbench.training.probes`, one family a file."""

from __future__ import annotations

from normbench import quantities
from normbench.catalog.entries import LINEAR_REGRESSION, Catalog, Entry, nearest
from normbench.errors import UsageError
from normbench.quantities import Quantity

PROBES = Catalog(
    "probe",
    {
        "weights": Entry(
            "normbench.training.probes.weights:weights",
            "sizes of weights and updates, angles, effective learning rates",
            gives=quantities.WEIGHTS,
        ),
        "landscape": Entry(
            "normbench.training.probes.landscape:landscape",
            "loss and gradient along the gradient (Santurkar et al. 2018, arXiv:1805.11604)",
            gives=quantities.LANDSCAPE,
        ),
        "covariate-shift": Entry(
            "normbench.training.probes.covariate_shift:covariate_shift",
            "change of gradients by the layers before (Santurkar et al. 2018, arXiv:1805.11604)",
            gives=quantities.COVARIATE_SHIFT,
        ),
        "drift": Entry(
            "normbench.training.probes.drift:drift",
            "drift of activations (after Ioffe & Szegedy 2015, arXiv:1502.03167)",
            gives=quantities.DRIFT,
        ),
        "curvature": Entry(
            "normbench.training.probes.curvature:curvature",
            "top eigenvalue of the Hessian, by Lanczos iteration",
            gives=quantities.CURVATURE,
        ),
        "max-step": Entry(
            "normbench.training.probes.max_step:max_step",
            "longest step that lowers the loss (after Bjorck et al. 2018, arXiv:1806.02375)",
            gives=quantities.MAX_STEP,
        ),
        "activations": Entry(
            "normbench.training.probes.activations:activations",
            "statistics of activations, and dead channels",
            gives=quantities.ACTIVATIONS,
        ),
        "participation": Entry(
            "normbench.training.probes.gradients:participation",
            "how many of its features and channels a layer's gradient uses",
            gives=quantities.PARTICIPATION,
        ),
        "gradient-tails": Entry(
            "normbench.training.probes.gradients:gradient_tails",
            "tails of the gradients (after Bjorck et al. 2018, arXiv:1806.02375)",
            gives=quantities.GRADIENT_TAILS,
        ),
        "gradient-noise": Entry(
            "normbench.training.probes.gradient_noise:gradient_noise",
            "noise of gradients and of batch statistics between batches",
            gives=quantities.GRADIENT_NOISE,
        ),
        "excess-loss": Entry(
            "normbench.training.probes.linear:excess_loss",
            "linear regressions: the loss above the least possible, as a share of what the "
            "features explain",
            traits=frozenset({LINEAR_REGRESSION}),
            gives=quantities.EXCESS_LOSS,
        ),
        "linear-weights": Entry(
            "normbench.training.probes.linear:linear_weights",
            "linear regressions: the weight of every feature",
            traits=frozenset({LINEAR_REGRESSION}),
            gives=quantities.LINEAR_WEIGHTS,
        ),
        "update-share": Entry(
            "normbench.training.probes.linear:update_share",
            "linear regressions: how much of a step each feature has",
            traits=frozenset({LINEAR_REGRESSION}),
            gives=quantities.UPDATE_SHARE,
        ),
    },
)


def probes_that_give(quantity: str) -> list[str]:
    """The probes that give a quantity: one, unless other packages measure it too."""
    return [name for name, entry in PROBES.items() if any(g.name == quantity for g in entry.gives)]


def quantity(name: str) -> Quantity:
    """The quantity of that name; raises :class:`UsageError` where no probe gives it."""
    known = {given.name: given for entry in PROBES.values() for given in entry.gives}
    if name in known:
        return known[name]
    close = nearest(name, known)
    hint = f"; did you mean {close!r}?" if close else "."
    raise UsageError(f"no probe gives the quantity {name!r}{hint} Known: {', '.join(known)}")
