"""What a protocol makes of its networks: sites, norms, parameters, memory and engines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normbench.errors import ComponentError, UndefinedError, UsageError
from normbench.place import told
from normbench.plan.code import packages_in
from normbench.plan.edited import check_code
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec

if TYPE_CHECKING:
    from torch import nn

    from normbench.calibration.tasks import Calibration
    from normbench.protocol.schema import Cell
    from normbench.protocol.study import Study

#: Any rate: nothing that is looked at depends on it.
_RATE = 0.1


@dataclass(frozen=True)
class InspectedSite:
    """A place of a network: its qualified name, what stands there in it, and a sample's shape.

    ``norms`` says what each norm of the protocol puts there.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    norms: dict[str, str] = field(default_factory=dict)


@dataclass
class InspectedNorm:
    """What a norm makes of a network: its parameters, those gained and lost by it, and its engine.

    ``memory`` are the MiB of a training step by batch size; ``faults`` say why there are none.
    """

    norm: str
    parameters: int | None = None
    gained: int = 0
    lost: int = 0
    memory: dict[int, float] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    engine: str = ""
    why: str = ""


@dataclass
class InspectedNetwork:
    """One network of a protocol, for one data set and choice of sites."""

    model: str
    dataset: str
    shape: tuple[int, ...]
    classes: int
    chosen: str
    sites: list[InspectedSite] = field(default_factory=list)
    norms: list[InspectedNorm] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def inspect(study: Study, device: str = "cpu", *, engines: bool = True) -> list[InspectedNetwork]:
    """Look at every network of a study with every norm and batch size; nothing is stored.

    With ``engines`` it is tried out how seeds would be trained, which takes seconds for a norm.
    Raises :class:`UsageError` where the data are missing, or the network itself cannot be made.
    """
    found: dict[Any, InspectedNetwork] = {}
    for run in _runs(study):
        check_code(run)
        cell = run.cell
        key = (cell.model, cell.dataset, cell.sites, cell.position)
        if key not in found:
            found[key] = _network(cell)
        _look(found[key], run, device, engines=engines)
    return list(found.values())


def _runs(study: Study) -> Iterator[RunSpec]:
    """A run of each cell that differs in what is looked at."""
    from normbench.plan.code import fingerprints_of

    seen = set()
    for run in expand(study, fingerprints=fingerprints_of(study)):
        cell = run.cell.model_copy(update={"learning_rate": _RATE, "probes": ()})
        same = (cell.model, cell.dataset, cell.sites, cell.position, cell.norm, cell.batch_size,
                cell.norm_batch_size, cell.optimizer.name, cell.precision)  # fmt: skip
        if same not in seen:
            seen.add(same)
            yield RunSpec(run.experiment, cell, run.seed, run.phase, run.code, run.root)


def _network(cell: Cell) -> InspectedNetwork:
    from normbench.training.data import arrays_of

    arrays = arrays_of(cell)
    sites = cell.sites if isinstance(cell.sites, str) else ", ".join(cell.sites)
    return InspectedNetwork(
        cell.model.label, cell.dataset.label, tuple(arrays.shape), arrays.classes, sites
    )


def _look(network: InspectedNetwork, run: RunSpec, device: str, *, engines: bool) -> None:
    label, batch = run.cell.norm.label, run.cell.batch_size
    norm = next((one for one in network.norms if one.norm == label), None)
    if norm is None:
        norm = InspectedNorm(label)
        network.norms.append(norm)
    try:
        _measure(network, norm, run, device, engines=engines)
    except UndefinedError as error:
        norm.faults[batch] = f"undefined: {error}"
    except (UsageError, ComponentError) as error:
        norm.faults[batch] = str(error)
    except Exception as error:  # of code of the user's own
        packages = packages_in(run.cell)
        if not packages:
            raise
        norm.faults[batch] = told(error, packages)


def _measure(
    network: InspectedNetwork, norm: InspectedNorm, run: RunSpec, device: str, *, engines: bool
) -> None:
    import torch

    from normbench.calibration.footprint import counted_bytes
    from normbench.training.data import prepare
    from normbench.training.plain import PlainEngine

    cell = run.cell
    data = prepare(cell, device)
    engine = PlainEngine(run, data, device)
    if norm.parameters is None:
        norm.parameters = engine.parameters
        _sites(network, norm, engine.model)
    index = torch.arange(cell.batch_size, device=device)
    with engine.session():
        engine.step(index[None], 0)
        counted = counted_bytes(engine, lambda: engine.loss(index)[0])
    norm.memory[cell.batch_size] = counted / 2**20
    if engines and not norm.engine:
        norm.engine, norm.why = _engine(run, data, device)


def _engine(run: RunSpec, data: Any, device: str) -> tuple[str, str]:
    """The engine that trains the seeds of a cell together, or plain, and why."""
    from normbench.calibration.candidates import together
    from normbench.calibration.tasks import Calibration

    task: Calibration = Calibration("inspect", run, 2, 2, device, 1, "auto")
    found = together(task, data, math.inf)
    names = list(dict.fromkeys(spec.name for spec in found.specs))
    if names:
        return " or ".join([*names, "plain"]), found.reason or "whichever is faster"
    return "plain", found.reason


def _sites(network: InspectedNetwork, norm: InspectedNorm, model: nn.Module) -> None:
    """Note what stands at the sites, and count what it learns."""
    from normbench.models.own.network import OwnNet

    if isinstance(model, OwnNet):
        _own_sites(network, norm, model)
        network.warnings += [w for w in model.warnings if w not in network.warnings]
        return
    known = {site.name: site for site in network.sites}
    for name, module in model.named_modules():
        if name.startswith("parts.") and name.endswith("_norm"):
            place = name.removeprefix("parts.").removesuffix("_norm")
            if place not in known:
                known[place] = InspectedSite(place, "", None)
                network.sites.append(known[place])
            known[place].norms[norm.norm] = _shown(module)
            norm.gained += sum(p.numel() for p in module.parameters())


def _own_sites(network: InspectedNetwork, norm: InspectedNorm, model: Any) -> None:
    known = {site.name: site for site in network.sites}
    biases = {name for name, _ in model.net.named_parameters() if name.endswith(".bias")}
    for site in model.found.sites:
        row = known.get(site.name)
        if row is None:
            row = InspectedSite(", ".join(site.names), site.type, site.shape)
            network.sites.append(row)
        module = model.norms.get(site.name)
        if module is None:
            row.norms[norm.norm] = "as it is"
            continue
        row.norms[norm.norm] = _shown(module)
        inner = getattr(module, "norm", module) if hasattr(module, "then") else module
        count = sum(p.numel() for p in inner.parameters())
        norm.gained += max(0, count - site.parameters)
        norm.lost += max(0, site.parameters - count)
        bias = f"{site.before}.bias"
        if site.before and bias in biases:
            norm.gained += model.net.get_parameter(bias).numel()


def _shown(module: nn.Module) -> str:
    """A norm in a line, with what stands around it."""
    from normbench.models.own.places import Apart, ChannelsLast, Fused

    if isinstance(module, Fused):
        names = [type(part).__name__ for part in module.then]
        then = ", ".join(name for name in names if name != "Identity")
        return _shown(module.norm) + (f", then {then}" if then else "")
    if isinstance(module, ChannelsLast):
        return f"{_shown(module.norm)}, channels last"
    if isinstance(module, Apart):
        return "nothing"
    return " ".join(str(module).split())
