"""``normbench init``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normbench.streams import say


def init(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="TARGET",
            help="The network: mynet.py:make, torchvision.models:resnet18, or a built-in one.",
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
    norms: Annotated[
        str,
        typer.Option(
            "--norms",
            metavar="NAMES",
            help="What to compare, with commas: keep, group, layer, mynorm.py:PowerNorm, …",
        ),
    ] = "batch,layer,group",
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", metavar="N,…", help="At which batch sizes.")
    ] = "2,8,32",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=10_000, metavar="N", help="How many seeds.")
    ] = 12,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The protocol to write [default: after the network].",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Write a commented protocol that compares norms in a network, on data.

    Nothing of yours is run for it: what the network is called with is read from its source.
    """
    from normbench.errors import UsageError
    from normbench.protocol.template import Wanted, protocol_text
    from normbench.results.files import write_text

    source, _, attribute = model.rpartition(":")
    path = output or Path(f"{Path(source).stem if source.endswith('.py') else attribute}.toml")
    if path.is_dir() or path.suffix != ".toml":
        raise UsageError(f"the protocol is a file that ends in .toml; received {path}")
    if path.exists() and not force:
        raise UsageError(
            f"{path} is there already; likely fix: another name by -o, or --force to write over it"
        )
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} for the protocol; likely fix: make it")
    wanted = Wanted(model, data, _texts("--norms", norms), sizes_of(batch_sizes), seeds)
    write_text(path, protocol_text(wanted, path))
    say(f"{path}: written; next: normbench plan {path}")


def _texts(option: str, text: str) -> list[str]:
    from normbench.errors import UsageError

    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise UsageError(f"{option} takes values with commas between them; received {text!r}")
    return found


def sizes_of(text: str) -> list[int]:
    """The batch sizes that ``--batch-sizes`` names. Raises :class:`UsageError` for other texts."""
    from normbench.errors import UsageError

    found = _texts("--batch-sizes", text)
    if not all(part.isdecimal() and part.isascii() and int(part) > 0 for part in found):
        raise UsageError(f"--batch-sizes takes whole numbers from 1 on, as 2,8; received {text!r}")
    return [int(part) for part in found]
