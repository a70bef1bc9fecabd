"""Networks of torchvision and timm as targets, small enough to be built in a test."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from normbench.models.make import made
from normbench.models.own.network import OwnNet
from tests.builders import cell

#: One norm of each kind that is asked for: within a sample, over all of it, and fixed statistics.
NORMS: dict[str, dict[str, Any]] = {
    "group": {"name": "group", "groups": 8},
    "layer": {"name": "layer"},
    "frozen": {"name": "batch-frozen", "after": 0.0},
}
CLASSES = 5
_SIZES = {"inception_v3": 299, "maxvit_t": 224, "alexnet": 64, "vit_h_14": 28}
#: Networks that have no norm: the walk finds none, and says so.
WITHOUT = ("alexnet", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg13", "vgg16", "vgg19")


def of_torchvision(name: str) -> dict[str, Any]:
    """The model of a protocol, and the size of its images."""
    args: dict[str, Any] = {"num_classes": "$classes"}
    size = _SIZES.get(name, 32)
    if name.startswith("vit"):
        args["image_size"] = size
    if name in ("googlenet", "inception_v3"):
        args["init_weights"] = False
    return _model(f"torchvision.models:{name}", args) | {"size": size}


def of_timm(name: str, size: int) -> dict[str, Any]:
    """The same of timm, whose factory takes the name."""
    args = {"model_name": name, "num_classes": "$classes"}
    return _model("timm:create_model", args) | {"size": size}


def _model(target: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": "torch", "target": target, "args": args, "on_misfit": "largest-divisor"}


def take_a_step(model: dict[str, Any], norm: str) -> OwnNet:
    """Build a network with a norm, and take a step of two items: losses and gradients are finite.

    Not all gradients are other than zero: vision transformers start with a last layer of zeros.
    """
    size = model.pop("size")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = made(cell(model=model, norm=NORMS[norm], batch_size=2), (3, size, size), CLASSES, 0)
    assert isinstance(net, OwnNet)
    x = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(1))
    loss = torch.nn.functional.cross_entropy(net(x), torch.tensor([1, 3]))
    assert loss.isfinite()
    weights = [p for p in net.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in found)
    assert any(g is not None and bool(g.any()) for g in found)
    with torch.no_grad():
        # without statistics of their batches a hundred layers have gradients without measure
        largest = max(float(g.abs().max()) for g in found if g is not None)
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight -= 1e-3 * gradient / max(1.0, largest)
        assert net(x).isfinite().all()
    return net
