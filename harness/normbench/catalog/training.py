"""Optimizers and learning-rate schedules. Their code is in :mod:`normbench.training`."""

from __future__ import annotations

from normbench.catalog.entries import Catalog, Entry, Param

_DECAY_NORMS = Param(False, "weight decay on biases and norm parameters too")
_ADAM = {
    "beta1": Param(0.9, "decay of the first moment", at_least=0.0, at_most=0.9999),
    "beta2": Param(0.999, "decay of the second moment", at_least=0.0, at_most=0.999999),
    "eps": Param(1e-8, "added to the root of the second moment", above=0.0, at_most=1.0),
    "decay_norms": _DECAY_NORMS,
}

OPTIMIZERS = Catalog(
    "optimizer",
    {
        "sgd": Entry(
            "normbench.training.optimizers:sgd",
            "stochastic gradient descent",
            params={
                "momentum": Param(0.9, "momentum", at_least=0.0, at_most=0.9999),
                "nesterov": Param(False, "Nesterov's momentum"),
                "weight_decay": Param(0.0, "L2 penalty", at_least=0.0),
                "decay_norms": _DECAY_NORMS,
            },
        ),
        "adam": Entry(
            "normbench.training.optimizers:adam",
            "Adam (Kingma & Ba 2015, arXiv:1412.6980)",
            params=_ADAM | {"weight_decay": Param(0.0, "L2 penalty", at_least=0.0)},
        ),
        "adamw": Entry(
            "normbench.training.optimizers:adamw",
            "Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)",
            params=_ADAM | {"weight_decay": Param(0.01, "decoupled decay", at_least=0.0)},
        ),
    },
)

_WARMUP = Param(0.0, "share of the run in which the rate rises linearly", at_least=0.0, at_most=0.9)
_FINAL = Param(0.0, "factor at the end of the run", at_least=0.0, at_most=1.0)

SCHEDULES = Catalog(
    "schedule",
    {
        "constant": Entry(
            "normbench.training.schedules:constant",
            "the same learning rate at every step",
            params={"warmup": _WARMUP},
        ),
        "cosine": Entry(
            "normbench.training.schedules:cosine",
            "half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983)",
            params={"warmup": _WARMUP, "final": _FINAL},
        ),
        "linear": Entry(
            "normbench.training.schedules:linear",
            "a straight line down",
            params={"warmup": _WARMUP, "final": _FINAL},
        ),
        "step": Entry(
            "normbench.training.schedules:stepwise",
            "multiplied by a factor at equal intervals",
            params={
                "warmup": _WARMUP,
                "drops": Param(2, "how often it drops", at_least=1, at_most=100),
                "factor": Param(0.1, "multiplied at each drop", above=0.0, at_most=1.0),
            },
        ),
    },
)
