"""``normbench diagnose``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli.check_norm import args_given
from normbench.cli.init import sizes_of
from normbench.cli.options import DeviceOption, SetOption
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.workflow.diagnosing import Compared, Diagnosis


def diagnose(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="TARGET",
            help="The network: mynet.py:make, or torchvision.models:resnet18.",
        ),
    ],
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Its trained weights: .safetensors, or a state_dict by torch.save.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="A folder of pictures, a .npz file, mydata.py:make, or a built-in data set.",
        ),
    ],
    batch_sizes: Annotated[
        str,
        typer.Option(
            "--batch-sizes", metavar="N,…", help="Those that it was, or might be, trained with."
        ),
    ] = "32",
    args: Annotated[
        str,
        typer.Option(
            "--args",
            metavar="TABLE",
            help="What the network is called with: '{ num_classes = \"$classes\" }' [default: what "
            "the data decide].",
        ),
    ] = "{}",
    overrides: SetOption = None,
    orders: Annotated[
        int,
        typer.Option("--orders", min=1, max=1000, help="Orders of the items to take batches from."),
    ] = 8,
    margin: Annotated[
        float,
        typer.Option(
            "--margin", min=0.0, max=1.0, help="The share of errors that noise must cost to matter."
        ),
    ] = 0.01,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Write the weights with recomputed statistics: a .safetensors file.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Tell whether a trained network with batch norm suffers in evaluation or from its training.

    Its running statistics, recomputed ones and those of each batch are compared on held-out items.
    Naming your code here is leave to run it.
    """
    from normbench.errors import UsageError
    from normbench.protocol.load import load_text
    from normbench.protocol.template import Trained, diagnosis_text

    if save is not None and save.suffix != ".safetensors":
        raise UsageError(f"--save writes a .safetensors file; received {save}")
    here = Path.cwd()
    given = args_given(args)
    trained = Trained(model, dict(given), weights, data, sizes_of(batch_sizes))
    study = load_text(diagnosis_text(trained, here), here / "diagnosis.toml", overrides or (), None)
    from normbench.training.devices import choose_device
    from normbench.workflow.diagnosing import diagnose as examine
    from normbench.workflow.diagnosing import save_recalibrated

    found, statistics = examine(study, choose_device(device), orders=orders, margin=margin)
    if as_json:
        say(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        _print(found)
    if save is not None:
        save_recalibrated(Path(weights), statistics, save)
        say(
            f"{save}: the weights with statistics recomputed from {found.samples:,} items",
            err=as_json,
        )


def _print(found: Diagnosis) -> None:
    from rich.table import Column, Table

    from normbench.terminal import Terminal

    console = Terminal()
    table = Table(
        "batch size", "running", "recomputed", "of each batch", "running less recomputed",
        "recomputed less batch", title=f"Error on {found.items:,} held-out items",
    )  # fmt: skip
    for one in found.sizes:
        table.add_row(
            str(one.batch_size), *(
                f"{100 * s.error:.1f} % (loss {s.loss:.3f})"
                for s in (found.running, one.recomputed, one.batch)
            ),
            _difference(one.running_over_recomputed), _difference(one.recomputed_over_batch),
        )  # fmt: skip
    console.print(table)
    sizes = [one.batch_size for one in found.sizes]
    drift = Table(
        Column("layer", overflow="fold"), "channels", "mean off by (σ)", "variance off by (factor)",
        *(f"noise at {size} (σ)" for size in sizes),
        title="Running statistics against recomputed ones: median (largest)",
    )  # fmt: skip
    for layer in found.layers:
        drift.add_row(
            layer.layer, str(layer.channels),
            f"{layer.shift_median:.3f} ({layer.shift_largest:.3f})",
            f"{layer.ratio_median:.2f} ({layer.ratio_largest:.2f})",
            *(f"{layer.noise[size]:.3f}" for size in sizes),
        )  # fmt: skip
    console.print(drift)
    for line in sentences(found):
        say(line)


def _difference(one: Compared) -> str:
    said = f"{100 * one.difference:+.1f} points"
    if one.interval is None:
        return f"{said} ({one.refusal})"
    low, high = (100 * end for end in one.interval)
    return f"{said} ({low:+.1f} to {high:+.1f})"


def sentences(found: Diagnosis) -> list[str]:
    """What a diagnosis says, a sentence a line."""
    from normbench.workflow.diagnosing import LEAST_ITEMS

    if not found.problems:
        why = (
            f"{found.items} held-out items are too few, at least {LEAST_ITEMS} are needed"
            if found.items < LEAST_ITEMS
            else "by no statistics is the network better than naming the largest class (error "
            f"{100 * found.chance:.1f} %), beyond the noise of {found.items:,} items"
        )
        return [f"Nothing is concluded: {why}."]
    said = []
    if "evaluation" in found.problems:
        one = max(
            (s for s in found.sizes if s.running_over_recomputed.decided > 0),
            key=lambda s: s.running_over_recomputed.difference,
        )
        said.append(
            "Evaluation is a problem: statistics recomputed at batch size "
            f"{one.batch_size} lower the error, {_difference(one.running_over_recomputed)} against "
            "the running ones. Recalibrate: --save FILE writes such weights."
        )
    noisy = [s for s in found.sizes if s.noisy(found.margin)]
    if noisy:
        one = min(noisy, key=lambda s: s.recomputed_over_batch.difference)
        low, high = one.recomputed_over_batch.interval or (0.0, 0.0)
        more = -100 * one.recomputed_over_batch.difference
        said.append(
            f"Training is a problem at batch size {one.batch_size}: with the statistics of such "
            f"batches the same weights err {more:.1f} points more often "
            f"({-100 * high:.1f} to {-100 * low:.1f}) than with recomputed ones. Every "
            "step of a training with such batches saw that noise, and recalibrating does not take "
            "it back: replace the norm, or take statistics from more items."
        )
    if "mismatch" in found.problems:
        one = max(
            (s for s in found.sizes if s.recomputed_over_batch.decided > 0),
            key=lambda s: s.recomputed_over_batch.difference,
        )
        said.append(
            "Training is a problem: even with recomputed statistics the error is higher than with "
            f"those of each batch of {one.batch_size}, {_difference(one.recomputed_over_batch)}. "
            "The network works with its batch's statistics and with no fixed ones: replace the "
            "norm, or train with larger batches. (Or these items are of another kind than those "
            "that the statistics are from.)"
        )
    if "none shown" in found.problems:
        said.append(
            "Neither is shown: the three evaluations are not told apart where it would matter. "
            "Whether another norm would have trained better takes training: normbench init."
        )
    worse = [s for s in found.sizes if s.running_over_recomputed.decided < 0]
    if worse:
        names = ", ".join(str(s.batch_size) for s in worse)
        said.append(f"Recalibrating at batch size {names} would raise the error: leave it.")
    return said
