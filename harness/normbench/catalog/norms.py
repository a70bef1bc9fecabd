"""The norms. Their code is in :mod:`normbench.norms`, one family a file."""

from __future__ import annotations

from normbench.catalog.entries import (
    BATCH_INDEPENDENT,
    BATCH_STATISTICS,
    OWN_NETWORKS,
    SITES_TOO,
    WEIGHTS,
    Catalog,
    Entry,
    Param,
)
from normbench.catalog.target_name import ARGS, TARGET

_EPS = Param(1e-5, "added to the variance", above=0.0, at_most=1.0)
_AFFINE = Param(True, "whether a scale and a shift are learned")
_MOMENTUM = "weight of the new batch in the running statistics"

NORMS = Catalog(
    "norm",
    {
        "none": Entry(
            "normbench.norms.identity:build",
            "no normalization: the baseline",
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.forms:NONE",
            title="no normalization",
            colour="#7f7f7f",
        ),
        "batch": Entry(
            "normbench.norms.batch:build",
            "batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167)",
            params={
                "eps": _EPS,
                "momentum": Param(0.1, _MOMENTUM, above=0, at_most=1),
                "affine": _AFFINE,
                "time": Param(
                    "per-step",
                    "recurrent nets: statistics of each time step, or pooled over time",
                    choices=("per-step", "pooled"),
                ),
                "gamma": Param(
                    0.1,
                    "recurrent nets: initial scale (Cooijmans et al. 2017, arXiv:1603.09025)",
                    above=0.0,
                    at_most=10.0,
                ),
            },
            traits=frozenset({BATCH_STATISTICS}),
            packed="normbench.models.packed.batch_norm:BATCH",
            title="batch norm",
            colour="#d55e00",
        ),
        "layer": Entry(
            "normbench.norms.layer:build",
            "layer norm over all of a sample's values, with a scale and a shift per element "
            "(Ba et al. 2016, arXiv:1607.06450)",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.layer_norm:LAYER",
            title="layer norm",
            colour="#0072b2",
        ),
        "group": Entry(
            "normbench.norms.group:build",
            "group norm (Wu & He 2018, arXiv:1803.08494)",
            params={
                "groups": Param(8, "channel groups; must divide the channels", at_least=1),
                "group_size": Param(
                    0,
                    "channels of a group, in place of groups; 0: groups says it",
                    at_least=0,
                    late=True,
                ),
                "eps": _EPS,
                "affine": _AFFINE,
            },
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.channel_norm:GROUP",
            title="group norm",
            colour="#009e73",
        ),
        "instance": Entry(
            "normbench.norms.instance:build",
            "instance norm (Ulyanov et al. 2016, arXiv:1607.08022), images only",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.channel_norm:INSTANCE",
            title="instance norm",
            colour="#cc79a7",
        ),
        "weight": Entry(
            "normbench.norms.weight:build",
            "weight norm (Salimans & Kingma 2016, arXiv:1602.07868)",
            traits=frozenset({BATCH_INDEPENDENT, WEIGHTS}),
            packed="normbench.models.packed.forms:WEIGHT",
            title="weight norm",
            colour="#b38600",
        ),
        "batch-renorm": Entry(
            "normbench.norms.batch_renorm:build",
            "batch renormalization (Ioffe 2017, arXiv:1702.03275)",
            params={
                "eps": _EPS,
                "momentum": Param(0.01, _MOMENTUM, above=0, at_most=1),
                "affine": _AFFINE,
                "r_max": Param(3.0, "limit of r at last", at_least=1.0, at_most=1e6),
                "d_max": Param(5.0, "limit of d at last", at_least=0.0, at_most=1e6),
                "plain": Param(
                    0.05, "share of the run that is batch norm", at_least=0.0, at_most=1.0
                ),
                "r_by": Param(
                    0.4, "share of the run by which r_max is reached", at_least=0.0, at_most=1.0
                ),
                "d_by": Param(
                    0.25, "share of the run by which d_max is reached", at_least=0.0, at_most=1.0
                ),
            },
            traits=frozenset({BATCH_STATISTICS}),
            packed="normbench.models.packed.batch_variants:RENORM",
            title="batch renorm",
        ),
        "batch-frozen": Entry(
            "normbench.norms.batch_frozen:build",
            "batch norm for a part of the run, then with its running statistics fixed "
            "(cf. Wu & Johnson 2021, arXiv:2105.07576)",
            params={
                "eps": _EPS,
                "momentum": Param(
                    0.01,
                    "weight of the new batch, once a plain average weighs it less",
                    above=0,
                    at_most=1,
                ),
                "affine": _AFFINE,
                "after": Param(
                    0.5, "share of the run after which they are fixed", at_least=0.0, at_most=1.0
                ),
            },
            traits=frozenset({BATCH_STATISTICS}),
            packed="normbench.models.packed.batch_variants:FROZEN",
            title="frozen batch norm",
        ),
        "layer-channels": Entry(
            "normbench.norms.layer_channels:build",
            "layer norm over the channels of each pixel, as in ConvNeXt (Liu et al. 2022, "
            "arXiv:2201.03545)",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.layer_norm:LAYER_CHANNELS",
            title="layer norm over channels",
        ),
        "rms": Entry(
            "normbench.norms.rms:build",
            "RMS norm over all of a sample's values, with a scale per element "
            "(Zhang & Sennrich 2019, arXiv:1910.07467)",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.layer_norm:RMS",
            title="RMS norm",
        ),
        "lrn": Entry(
            "normbench.norms.lrn:build",
            "local response normalization over neighbouring channels (Krizhevsky et al. 2012)",
            params={
                "n": Param(5, "channels in the window; an odd number", at_least=1, at_most=4097),
                "alpha": Param(1e-4, "factor on the sum of squares", at_least=0.0, at_most=1e6),
                "beta": Param(0.75, "exponent", at_least=0.0, at_most=10.0),
                "k": Param(2.0, "added to the sum", above=0.0, at_most=1e6),
            },
            traits=frozenset({BATCH_INDEPENDENT}),
            title="local response norm",
        ),
        "weight-standardized": Entry(
            "normbench.norms.weight_standardized:build",
            "weight standardization (Qiao et al. 2019, arXiv:1903.10520) with group norm",
            params={
                "groups": Param(
                    8, "of the group norm, must divide the channels; 0: none", at_least=0
                ),
                "eps": _EPS,
                "affine": _AFFINE,
            },
            traits=frozenset({BATCH_INDEPENDENT, WEIGHTS, SITES_TOO}),
            packed="normbench.models.packed.channel_norm:WEIGHT_STANDARDIZED",
            title="weight standardization with group norm",
        ),
        "dyt": Entry(
            "normbench.norms.dyt:build",
            "dynamic tanh in place of a norm (Zhu et al. 2025, arXiv:2503.10622)",
            params={
                "alpha": Param(0.5, "initial factor of the input", above=0.0, at_most=1e3),
                "affine": _AFFINE,
            },
            traits=frozenset({BATCH_INDEPENDENT}),
            packed="normbench.models.packed.dynamic_tanh:DYT",
            title="dynamic tanh",
        ),
        "derf": Entry(
            "normbench.norms.derf:build",
            "dynamic erf in place of a norm (Chen et al. 2025, arXiv:2512.10938)",
            params={
                "alpha": Param(0.5, "initial factor of the input", above=0.0, at_most=1e3),
                "shift": Param(0.0, "initial shift of the input", at_least=-1e3, at_most=1e3),
                "affine": _AFFINE,
            },
            traits=frozenset({BATCH_INDEPENDENT}),
            title="dynamic erf",
        ),
        "keep": Entry(
            "normbench.norms.keep:build",
            "the norms that a network of your own has, as they are",
            traits=frozenset({OWN_NETWORKS}),
            title="the network's own norm",
        ),
        "own": Entry(
            "normbench.norms.own:build",
            "a norm of your own: a class or function that takes the channels or the shape",
            params={"target": TARGET, "args": ARGS},
        ),
    },
)
