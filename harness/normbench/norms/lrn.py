"""Local response normalization, with the constants of the 2012 AlexNet (Krizhevsky et al.)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from normbench.errors import UsageError


class LocalResponse(nn.Module):
    """y = x/(k + α·Σx²)^β with the sum over the ``n`` channels around each, at each position.

    At the first and the last channels the window is cut off. Inputs have shape (N, C) or
    (N, C, H, W). This is the paper's sum: torch's ``nn.LocalResponseNorm`` takes the mean over n,
    so that its α is n times the paper's.
    """

    def __init__(self, *, n: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.n, self.alpha, self.beta, self.k = n, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Divide each value by what its neighbours in other channels amount to."""
        flat = x.reshape(x.shape[0], x.shape[1], -1)  # torch's function wants positions
        y = functional.local_response_norm(
            flat, self.n, alpha=self.n * self.alpha, beta=self.beta, k=self.k
        )
        return y.reshape(x.shape)


def build(shape: tuple[int, ...], *, n: int, alpha: float, beta: float, k: float) -> nn.Module:
    """The layer for samples of any ``shape``; nothing is learned.

    Raises :class:`UsageError` for an even ``n``, whose window would have no middle. Krizhevsky,
    Sutskever & Hinton 2012, section 3.3.
    """
    del shape
    if n % 2 == 0:
        raise UsageError(
            f"local response norm needs an odd n, so that a channel lies in the middle of its "
            f"window; received {n}; use {n - 1} or {n + 1}"
        )
    return LocalResponse(n=n, alpha=alpha, beta=beta, k=k)
