"""``normbench inspect``."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli.options import DeviceOption, ProtocolArgument, SetOption, warn
from normbench.cli.trusting import TrustOption, require_trust
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.workflow.inspecting import InspectedNetwork


def inspect(
    protocol: ProtocolArgument,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    engines: Annotated[
        bool,
        typer.Option(
            "--engines/--no-engines",
            help="Try out which engine trains each norm: some seconds for a large network.",
        ),
    ] = True,
    trust: TrustOption = False,
) -> None:
    """Show the sites of a PROTOCOL's networks, and what each norm puts there and costs."""
    from normbench.protocol.load import load_text, read_protocol

    path, text = read_protocol(protocol)
    study = load_text(text, path, overrides or (), None)
    warn(study)
    require_trust(study, text, grant=trust)
    from normbench.training.devices import choose_device
    from normbench.workflow.inspecting import inspect as look

    networks = look(study, choose_device(device), engines=engines)
    if as_json:
        say(json.dumps([dataclasses.asdict(network) for network in networks], indent=1))
        return
    for network in networks:
        _print(network)


def _print(network: InspectedNetwork) -> None:
    from rich.table import Table

    from normbench.terminal import Terminal

    console = Terminal()
    say(f"{network.model}, {network.dataset}: inputs {network.shape}, {network.classes} outputs")
    if network.sites:
        say(f"{len(network.sites)} sites, of which the norm stands at: {network.chosen}")
    for site in network.sites:
        shape = "" if site.shape is None else " × ".join(map(str, site.shape))
        say("  ".join(filter(None, [site.name, site.type, shape])))
        for label, shown in site.norms.items():
            say(f"    {label}: {shown}")
    batches = sorted({b for norm in network.norms for b in (*norm.memory, *norm.faults)})
    table = Table("norm", "parameters", "gained", "lost", *(f"MiB at {b}" for b in batches))
    for norm in network.norms:
        counts = [f"{n:,}" for n in (norm.parameters or 0, norm.gained, norm.lost)]
        memory = [f"{norm.memory[b]:,.1f}" if b in norm.memory else "–" for b in batches]
        table.add_row(norm.norm, *(counts if norm.parameters is not None else ["–"] * 3), *memory)
    console.print(table)
    for norm in network.norms:
        for batch, fault in norm.faults.items():
            say(f"{norm.norm}, batch size {batch}: {fault}")
        if norm.engine:
            say(f"{norm.norm}: engine {norm.engine}" + (f" ({norm.why})" if norm.why else ""))
    for warning in network.warnings:
        say(f"warning: {warning}")
