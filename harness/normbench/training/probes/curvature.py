"""The largest eigenvalue of the loss's Hessian, by Lanczos iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from normbench.plan.seeds import stream_key
from normbench.training.probes.base import (
    Measurement,
    ProbeContext,
    ProbeLoss,
    flat,
    shaped,
    weight_layers,
)

#: At most this many products with the Hessian, fewer once the residual is below the tolerance.
STEPS, TOLERANCE = 20, 1e-3


class Eigenvalue(NamedTuple):
    """An eigenvalue λ, the residual ‖Hv − λv‖/|λ| of its unit vector v, and the products used.

    An eigenvalue of H lies within residual·|λ| of λ, most often far nearer.
    """

    value: float
    residual: float
    products: int


def top_eigenvalue(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
) -> Eigenvalue:
    """The algebraically largest eigenvalue of a symmetric matrix, given products with it.

    Lanczos iteration with full reorthogonalisation in float64, from the vector ``start`` (n,);
    ``product`` maps (n,) to (n,). Stops after ``steps`` products or at a relative residual of
    ``tolerance``. Power iteration would find the eigenvalue of largest magnitude instead, which
    may be negative. Numbers that are not finite give NaN. Lanczos 1950; Golub & Van Loan,
    Matrix Computations, ch. 10.
    """
    basis = [start.double() / torch.linalg.vector_norm(start.double())]
    diagonal: list[float] = []
    beside: list[float] = []
    found = Eigenvalue(float("nan"), float("nan"), 0)
    while len(diagonal) < min(steps, len(start)):
        w = product(basis[-1]).double()
        diagonal.append(float(w.dot(basis[-1])))
        if not bool(torch.isfinite(w).all()):
            return Eigenvalue(float("nan"), float("nan"), len(diagonal))
        spanned = torch.stack(basis)
        for _ in range(2):  # twice is enough: what the first pass leaves is rounding
            w = w - spanned.T @ (spanned @ w)
        rest = float(torch.linalg.vector_norm(w))
        tridiagonal = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if beside:
            off = torch.tensor(beside, dtype=torch.float64)
            tridiagonal = tridiagonal + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(tridiagonal)
        scale = float(values.abs().max())
        top = float(values[-1])
        error = rest * abs(float(vectors[-1, -1]))
        found = Eigenvalue(top, error / abs(top) if top else error, len(diagonal))
        if error <= tolerance * abs(top) or rest <= 1e-12 * scale:
            return found
        beside.append(rest)
        basis.append(w / rest)
    return found


def curvature(context: ProbeContext) -> Iterator[Measurement]:
    """The top eigenvalue λ of the Hessian of the loss by all trainable parameters.

    - ``curvature`` λ, the algebraically largest;
    - ``rate-curvature`` η·λ: on a quadratic, gradient descent diverges above 2, with momentum μ
      above 2(1 + μ); training tends to the threshold (Cohen et al. 2021, arXiv:2103.00065);
    - ``scaled-curvature`` ‖w‖²·λ with all weights w (no biases, no norm parameters): where a norm
      makes the loss independent of the weights' scale, λ falls as 1/‖w‖² and only the product
      means anything (Lyu et al. 2022, arXiv:2206.07085). The classifier, which no norm follows,
      is in it;
    - ``curvature-residual`` the relative residual at which the iteration ended.

    The Hessian is that of the mean loss over the first probe batches (64 items, at least one
    batch) in training mode, in which batch norm's statistics depend on the weights; in
    evaluation mode it is another function. Lanczos on ``jvp(grad)`` from a fixed random vector,
    until a residual of 1e-3 or 20 products: on digits, 7 to 15 products gave the small CNN's
    eigenvalue to 5 digits at the start and after 30 steps. Cost: each product about three
    evaluations with gradient, which makes this the most expensive probe by far: one to two
    seconds for 6,000 to 9,000 parameters and eight batches of 4, on a busy core.
    """
    objective = ProbeLoss(context)
    here = objective.here
    size = sum(p.numel() for p in here.values())
    generator = torch.Generator().manual_seed(stream_key(0, "probe", "curvature"))
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    device = next(iter(here.values())).device

    def product(vector: Tensor) -> Tensor:
        return flat(objective.hessian_product(here, shaped(vector, here)))

    found = top_eigenvalue(product, start.to(device))
    names = [n for layer in weight_layers(context.model) for n in layer.weights]
    w = flat(here, names)
    yield Measurement("curvature", "", found.value)
    yield Measurement("rate-curvature", "", context.learning_rate * found.value)
    yield Measurement("scaled-curvature", "", float(w.dot(w)) * found.value)
    yield Measurement("curvature-residual", "", found.residual)
