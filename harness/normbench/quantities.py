"""What the built-in probes measure: the name of each quantity, its title, unit and reading.

The catalogue's probe entries refer to these, so that a claim about a quantity can be checked when
a protocol is read, and a report can say what its figures show, without importing any probe.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """One quantity that a probe gives.

    ``name`` is what tables and claims call it, ``title`` how it is said in a sentence (lower
    case), ``reading`` how a figure of it is read, in whole sentences. ``unit`` is empty for pure
    numbers. ``logarithmic`` ones are drawn on a logarithmic axis where all values are positive.
    """

    name: str
    title: str
    reading: str
    unit: str = ""
    logarithmic: bool = False


EXCESS_LOSS = (
    Quantity(
        "excess-loss",
        "remaining share of the explained loss",
        "1 is the loss of the best constant and 0 that of the best linear model, on the training "
        "data; a start from random weights may lie above 1. The layer start counts from each run's "
        "own first loss instead.",
        logarithmic=True,
    ),
)
LINEAR_WEIGHTS = (
    Quantity(
        "linear-weights",
        "feature weight",
        "The layers x1, x2, … are the features in the order of the data. A weight is per unit of "
        "its feature as the model takes it, so that it depends on how the inputs are normalized.",
    ),
)
UPDATE_SHARE = (
    Quantity(
        "update-share",
        "share of the steps",
        "The layers x1, x2, … are the features in the order of the data. A feature's share is the "
        "square of its weight's change over the sum of all: a feature with large numbers takes "
        "nearly all of a step, whatever it matters.",
    ),
)
WEIGHTS = (
    Quantity("weight-norm", "norm of the weights",
        "Euclidean norm of all stored weights. Behind them a norm makes their scale irrelevant to "
        "what is computed, but the larger they are, the less a step turns them.",
        logarithmic=True),
    Quantity("used-weight-norm", "norm of the weights in use",
        "Euclidean norm of the weights that layers multiply with; with weight norm these are not "
        "the stored ones.", logarithmic=True),
    Quantity("weight-growth", "growth of the weights",
        "Norm of the weights in use over that before training."),
    Quantity("largest-weight", "largest weight", "The largest absolute weight in use."),
    Quantity("update-norm", "norm of the update",
        "Euclidean norm of the last training step's change of the weights.", logarithmic=True),
    Quantity("relative-update", "relative update",
        "Norm of the last step's change of the weights over the norm of the weights.",
        logarithmic=True),
    Quantity("angular-update", "angular update",
        "The angle by which the last step turned the weights. Under weight decay and a norm it "
        "tends to a level that the learning rate sets (Kosson et al. 2023).", "radians",
        logarithmic=True),
    Quantity("effective-rate", "effective learning rate",
        "Learning rate over the squared norm of a layer's weights: the pace at which their "
        "direction moves where a norm makes the scale irrelevant (van Laarhoven 2017).",
        logarithmic=True),
)  # fmt: skip

LANDSCAPE = (
    Quantity("loss-variation", "loss variation along the gradient",
        "Largest minus smallest training loss after steps of ½ to 4 learning rates along the "
        "gradient (Santurkar et al. 2018, Fig. 4a). Smaller: a smoother landscape.",
        logarithmic=True),
    Quantity("gradient-predictiveness", "gradient change along the gradient",
        "Largest Euclidean distance of the gradient from itself after such steps (Fig. 4b). "
        "Smaller: the gradient holds further. It depends on the scale of the weights.",
        logarithmic=True),
    Quantity("gradient-predictiveness-range", "range of the gradient change",
        "Largest minus smallest distance of the gradient from itself after such steps.",
        logarithmic=True),
    Quantity("gradient-predictiveness-cosine", "gradient cosine along the gradient",
        "Smallest cosine between the gradient and itself after such steps: 1 where its direction "
        "holds. The scale of the weights does not enter."),
    Quantity("effective-smoothness", "effective smoothness constant",
        "Largest change of the gradient over the length of the step (Fig. 4c): a lower bound on "
        "the gradient's Lipschitz constant. Smaller: smoother. It depends on the scale of the "
        "weights.", logarithmic=True),
    Quantity("rate-smoothness", "learning rate times smoothness constant",
        "The same times the learning rate, which has no unit.", logarithmic=True),
)  # fmt: skip

COVARIATE_SHIFT = (
    Quantity("covariate-shift", "internal covariate shift of gradients",
        "Distance between a layer's gradient and that after the layers before it took their step "
        "(Santurkar et al. 2018, Definition 2.1), mean over layers. It depends on the scale of "
        "the weights.", logarithmic=True),
    Quantity("covariate-shift-relative", "relative internal covariate shift",
        "The same over the norm of the layer's gradient.", logarithmic=True),
    Quantity("covariate-shift-cosine", "gradient cosine under covariate shift",
        "Cosine between both gradients, mean over layers: 1 where the step of the layers before "
        "changes no direction."),
)  # fmt: skip

CURVATURE = (
    Quantity("curvature", "top Hessian eigenvalue",
        "Largest eigenvalue of the training loss's Hessian, batch statistics included. It depends "
        "on the scale of the weights."),
    Quantity("rate-curvature", "learning rate times top Hessian eigenvalue",
        "On a quadratic, gradient descent diverges above 2, with momentum µ above 2(1 + µ) "
        "(Cohen et al. 2021)."),
    Quantity("scaled-curvature", "squared weight norm times top Hessian eigenvalue",
        "Does not change with the scale of weights that a norm makes irrelevant."),
    Quantity("curvature-residual", "residual of the top eigenvalue",
        "How far the iteration was from an exact eigenvector, relative to the eigenvalue.",
        logarithmic=True),
)  # fmt: skip

DRIFT = (
    Quantity("mean-drift", "drift of activation means",
        "How far channels' mean pre-activations moved since the last evaluation, in deviations of "
        "the layer, mean over layers (after Ioffe and Szegedy 2015)."),
    Quantity("deviation-drift", "drift of activation deviations",
        "The same of the channels' standard deviations."),
    Quantity("distribution-drift", "drift of activation distributions",
        "Mean Wasserstein distance between each channel's pre-activations now and at the last "
        "evaluation, in deviations of the layer."),
)  # fmt: skip

ACTIVATIONS = (
    Quantity("preactivation-mean", "mean pre-activation",
        "Mean of what an activation function gets."),
    Quantity("preactivation-deviation", "pre-activation deviation",
        "Standard deviation of what an activation function gets.", logarithmic=True),
    Quantity("activation-mean", "mean activation", "Mean of what an activation function gives."),
    Quantity("activation-deviation", "activation deviation",
        "Standard deviation of what an activation function gives.", logarithmic=True),
    Quantity("dead-channels", "share of dead channels",
        "Share of channels whose ReLU gives zero for all probe items, mean over layers."),
    Quantity("deviation-ratio", "ratio of last to first pre-activation deviation",
        "Below 1 the signal shrinks with depth, above 1 it grows.", logarithmic=True),
)  # fmt: skip

GRADIENT_TAILS = (
    Quantity("gradient-kurtosis", "gradient kurtosis",
        "Fourth over squared second moment of a gradient's entries, mean over layers: 3 for "
        "normal ones, more for heavier tails.", logarithmic=True),
    Quantity("gradient-peak", "gradient peak",
        "Largest over median absolute entry of a gradient, mean over layers.", logarithmic=True),
)  # fmt: skip

PARTICIPATION = (
    Quantity("feature-participation", "share of features that the gradient uses",
        "Participation ratio of the input channels in a layer's gradient, mean over layers: 1 "
        "where all take an equal part, near 0 where most features are ignored."),
    Quantity("channel-participation", "share of channels that the gradient changes",
        "The same of the output channels."),
)  # fmt: skip

GRADIENT_NOISE = (
    Quantity("gradient-noise", "gradient noise",
        "Total variance of the gradient between batches over its squared mean.",
        logarithmic=True),
    Quantity("statistics-noise", "noise of batch statistics",
        "Standard deviation over batches of a channel's batch mean, in deviations of the channel, "
        "mean over norms.", logarithmic=True),
)  # fmt: skip

MAX_STEP = (
    Quantity("max-step", "longest descending step",
        "The longest step along the gradient after which the loss is still lower, in units of the "
        "gradient.", logarithmic=True),
    Quantity("max-step-ratio", "longest descending step in learning rates",
        "The same over the learning rate: below 1 the learning rate overshoots.",
        logarithmic=True),
)  # fmt: skip
