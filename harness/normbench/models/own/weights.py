"""Trained weights from a file, without running any of its content."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normbench.catalog.target import root
from normbench.catalog.weights import weights_file
from normbench.errors import UsageError

#: Where files that hold more than weights have them.
_INSIDE = ("state_dict", "model", "model_state_dict", "module")
_NAMED = 5


@torch.no_grad()
def load_weights(model: nn.Module, text: str, classes: int) -> tuple[str, ...]:
    """Set a network's parameters and buffers from a file; the names of those that stay fresh.

    These are the last layer's, where the file was made for another number of classes. Raises
    :class:`UsageError` where the file fits otherwise not.
    """
    path = weights_file(text, root())
    given, own = read_weights(path), model.state_dict()
    given = {name.removeprefix("module."): t for name, t in given.items()}
    absent = [name for name in own if name not in given and not name.endswith("batches_tracked")]
    unknown = [name for name in given if name not in own]
    other = [n for n in own if n in given and own[n].shape != given[n].shape]
    fresh = _of_last_layer(other, own, classes)
    faults = [
        f"{what}: {_some(names)}"
        for what, names in (
            ("it lacks", absent),
            ("the network has no", unknown),
            ("other shapes have", [f"{n} ({tuple(given[n].shape)} for {tuple(own[n].shape)})"
                                   for n in other if n not in fresh]),
        )
        if names
    ]  # fmt: skip
    if faults:
        raise UsageError(
            f"the weights of {path.name} are another network's: {'; '.join(faults)}; likely fix: "
            "the arguments with which the network is made, or the file"
        )
    for name, tensor in own.items():
        if name in given and name not in fresh:
            tensor.copy_(given[name])
    return fresh


def _of_last_layer(names: list[str], own: Mapping[str, Tensor], classes: int) -> tuple[str, ...]:
    """Those names, where all of them are of one layer that gives the classes."""
    layers = {name.rpartition(".")[0] for name in names}
    if len(layers) == 1 and all(own[name].shape[:1] == (classes,) for name in names):
        return tuple(names)
    return ()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights by their names. Raises :class:`UsageError`."""
    try:
        found: Any
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"{path.name} holds more than weights, which would run code of whoever made it; "
            f"likely fix: torch.save(model.state_dict(), …), or a .safetensors file ({first})"
        ) from None
    except Exception as error:
        raise UsageError(
            f"{path.name} is no file of weights: {type(error).__name__}: {str(error)[:200]}"
        ) from None
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())
    ):
        raise UsageError(f"{path.name} holds no state_dict: names with a tensor each")
    return dict(found)
