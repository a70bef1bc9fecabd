"""The commented protocol that ``normbench init`` writes, for a network and data of the user's own.

Nothing is imported for it: what a network is called with is read from its source.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normbench.catalog import DATASETS, MODELS, NORMS, Catalog
from normbench.catalog.target_name import parsed
from normbench.errors import UsageError
from normbench.protocol.load import load_text
from normbench.protocol.names import folder_name, study_name

#: What the arguments of a network are called that ``$classes`` and the like can fill in.
_ARGUMENTS = {
    "$classes": ("num_classes", "n_classes", "classes", "nb_classes", "num_labels", "num_outputs"),
    "$in_channels": ("in_channels", "in_chans", "num_channels", "channels"),
    "$in_shape": ("in_shape", "input_shape"),
}
_MORE = """\
# It may have weights = "file.safetensors", and on_misfit = "largest-divisor" where groups of
# channels do not divide. `normbench inspect` shows every norm that would be replaced.
"""
_RATES = [0.003, 0.01, 0.03]


@dataclass(frozen=True)
class Wanted:
    """What a protocol is to be about, as the command line says it."""

    model: str
    data: str
    norms: Sequence[str]
    batch_sizes: Sequence[int]
    seeds: int


def protocol_text(wanted: Wanted, output: Path) -> str:
    """The text of a protocol to lie at ``output``: paths in it are relative to its folder.

    Raises :class:`UsageError` for what is not there, or fits no protocol.
    """
    folder = output.parent
    model, note = _model(wanted.model, folder)
    text = _TEXT.format(
        name=output.name,
        study=folder_name(study_name(output)),
        title=_toml(f"{', '.join(wanted.norms)} in {wanted.model}"),
        seeds=wanted.seeds,
        data=_toml(_data(wanted.data, folder)),
        model=_toml(model),
        note=note,
        rates=_toml(_RATES),
        batch_sizes=_toml(list(wanted.batch_sizes)),
        norms="".join(f"\n  {_toml(_norm(norm, folder))}," for norm in wanted.norms),
    )
    load_text(text, output)  # what does not fit is told before anything is written
    return text


@dataclass(frozen=True)
class Trained:
    """A trained network and data to diagnose it on, as the command line says it.

    Empty ``args`` are those that the data decide, as far as the network's source tells.
    """

    model: str
    args: dict[str, Any]
    weights: str
    data: str
    batch_sizes: Sequence[int]


def diagnosis_text(trained: Trained, folder: Path) -> str:
    """The text of a protocol, to lie in ``folder``, that keeps a network as it is.

    Raises :class:`UsageError` for what is not there, or fits no protocol.
    """
    if ":" not in trained.model:
        raise UsageError(
            "--model is a network of your own, as mynet.py:make or torchvision.models:resnet18; "
            f"received {trained.model!r}"
        )
    weights = Path(trained.weights)
    if not weights.is_file():
        raise UsageError(f"there is no file {weights} of weights")
    model, _ = _model(trained.model, folder)
    model["weights"] = _beside(weights, folder)
    if trained.args:
        model["args"] = trained.args
    return _KEPT.format(
        model=_toml(model),
        data=_toml(_data(trained.data, folder)),
        batch_sizes=_toml(list(trained.batch_sizes)),
    )


_KEPT = """\
[protocol]
seeds = 1

[defaults]
dataset = {data}
model = {model}
epochs = 1
learning_rate = 0.1
norm = "keep"

[[experiment]]
name = "diagnosis"
product.batch_size = {batch_sizes}
"""


_TEXT = """\
# Written by `normbench init`. Every line may be changed.
#   normbench plan {name}            what would run, and about how long
#   normbench run {name}             trains what is missing; run it again to resume
#   normbench report results/{study}
# Code that is named here (target) runs when you said that it may: you are asked, or give --trust.

[protocol]
title = {title}
# Each seed trains every norm at every batch size. With fewer than 6 no test is possible; more seeds
# show smaller differences.
seeds = {seeds}

[defaults]
dataset = {data}
{note}model = {model}
epochs = 10
# optimizer = "adam"          # or "sgd" (the default), "adamw", with their parameters
# augment = ["flip", "crop"]  # of training pictures, alike for every norm
# train_size = 1000           # fewer training items, for a first look

[[experiment]]
name = "norms"
# The learning rate is chosen for every norm and batch size by itself, on seeds of its own: with one
# rate for all, the norm that it happens to suit would win. For a quicker first look put
# `learning_rate = 0.01` in its place.
tune = {{ learning_rate = {rates}, seeds = 2 }}

# Every combination of these is trained.
[experiment.product]
batch_size = {batch_sizes}
norm = [{norms}
]
"""


def _toml(value: Any) -> str:
    """A value as TOML writes it, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _model(text: str, folder: Path) -> tuple[Any, str]:
    if ":" not in text:
        return _named(MODELS, text), ""
    target = _target(text, folder)
    source = text.rpartition(":")[0]
    args = _arguments(Path(source), parsed(target).attribute) if source.endswith(".py") else {
        "num_classes": "$classes"
    }  # fmt: skip
    found: dict[str, Any] = {"name": "torch", "target": target}
    if args:
        found["args"] = args
        called = "Called with args; $classes, $in_channels and $in_shape are the data's."
    else:
        called = 'Called without arguments; if it takes some: args = { num_classes = "$classes" }.'
    return found, f"# {called}\n{_MORE}"


def _arguments(file: Path, name: str) -> dict[str, str]:
    """Those arguments of a function or class in a file that the data decide, by its source."""
    try:
        tree = ast.parse(file.read_bytes(), filename=file.name)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is no Python: {error}") from None
    for node in tree.body:
        if getattr(node, "name", None) != name:
            continue
        if isinstance(node, ast.ClassDef):
            inits = [n for n in node.body if getattr(n, "name", "") == "__init__"]
            node = inits[0] if inits else node
        if isinstance(node, ast.FunctionDef):
            taken = [one.arg for one in (*node.args.args, *node.args.kwonlyargs)]
            return {
                argument: placeholder
                for argument in taken
                for placeholder, names in _ARGUMENTS.items()
                if argument in names
            }
        return {}
    named = [str(n.name) for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    raise UsageError(f"{file} defines no {name}; it has {', '.join(named) or 'nothing'}")


def _data(text: str, folder: Path) -> Any:
    path = Path(text)
    if path.is_dir():
        return {"name": "image-folder", "path": _beside(path, folder), "resolution": 64}
    if path.suffix in (".npz", ".npy"):
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        return {"name": "arrays", "path": _beside(path, folder)}
    if ":" in text:
        return {"name": "own", "target": _target(text, folder)}
    if text not in DATASETS:
        raise UsageError(
            f"--data is a folder of pictures, a .npz file, a target or a data set by its name; "
            f"there is no {text!r}. Data sets: {', '.join(DATASETS.complete)}"
        )
    return _named(DATASETS, text)


def _norm(text: str, folder: Path) -> Any:
    return {"name": "own", "target": _target(text, folder)} if ":" in text else _named(NORMS, text)


def _named(catalog: Catalog, name: str) -> str:
    if name not in catalog or "target" in catalog[name].params:
        raise UsageError(catalog.unknown(name))
    return name


def _target(text: str, folder: Path) -> str:
    """A target that is given relative to the present folder, as the protocol writes it."""
    module, _, attribute = text.rpartition(":")
    if not module.endswith(".py"):
        found = text
    elif not Path(module).is_file():
        raise UsageError(f"there is no file {module}, of which {text} is to be taken")
    else:
        found = f"{_beside(Path(module), folder)}:{attribute}"
    try:
        return str(parsed(found))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _beside(path: Path, folder: Path) -> str:
    """A path relative to the folder of the protocol, with / between its parts."""
    return Path(os.path.relpath(path, folder)).as_posix()
