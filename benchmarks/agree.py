"""Before anything is timed: all contenders compute the same thing.

From equal weights and with equal batches, (a), (a′) and (c) in each of its formulations must give
equal losses, step by step, up to float32 rounding. Dropout is left out here: its masks come from
other streams in each contender.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.script import Training, network
from benchmarks.work import LEARNING_RATE, NORMS, TITLES, Work, run_spec
from normbench.models.plain import Net
from normbench.norms.weight import WeightNormed
from normbench.training.data import Prepared, prepare
from normbench.training.packed import PackedEngine, variants
from normbench.training.plain import PlainEngine

STEPS, BATCH, MEMBERS = 6, 8, 2
TOLERANCE = 1e-4


@torch.no_grad()
def copy_weights(plain: Net, net: nn.Sequential) -> None:
    """Give the script's network the weights of normbench's module."""
    theirs = [part for part in plain.parts.values() if any(True for _ in part.parameters())]
    mine = [part for part in net if any(True for _ in part.parameters())]
    for source, target in zip(theirs, mine, strict=True):
        if isinstance(source, WeightNormed):
            weight = target.parametrizations.weight
            weight.original0.copy_(source.g.view_as(weight.original0))
            weight.original1.copy_(source.v)
        else:
            target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)


def _losses_of_script(
    plain: Net, work: Work, data: Prepared, order: Tensor, fused: bool
) -> list[float]:
    net = network(work.model, work.norm, dropout=0.0)
    copy_weights(plain, net)
    dataset = TensorDataset(data.train.x, data.train.y)
    loader = DataLoader(dataset, batch_sampler=order.tolist())

    def indexed() -> Iterator[tuple[Tensor, Tensor]]:
        for index in order:
            yield data.train.x[index], data.train.y[index]

    batches = indexed() if fused else iter(loader)
    training = Training(net, batches, LEARNING_RATE, fused)
    return [float(training.run(1)) for _ in range(len(order))]


def worst_difference(work: Work) -> float:
    """The largest relative difference of a loss from (a)'s, over contenders and steps."""
    runs = [run_spec(work, seed, dropout=0.0) for seed in range(MEMBERS)]
    data = prepare(runs[0].cell)
    order = torch.stack([
        torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
        for seed in range(MEMBERS)
    ])[:, : STEPS * BATCH].view(MEMBERS, STEPS, BATCH)  # fmt: skip
    found: list[Tensor] = []
    for fused in (False, True):
        torch.backends.mkldnn.enabled = True
        found.append(torch.tensor([
            _losses_of_script(PlainEngine(run, data).model, work, data, order[member], fused)
            for member, run in enumerate(runs)
        ]))  # fmt: skip
    with torch.no_grad():
        for name in variants(runs[0].cell, data, "cpu"):
            engine = PackedEngine(runs, data, "cpu", name)
            losses = []
            for step in range(STEPS):
                losses.append(engine.gradients(order[:, step])[0].clone())
                engine.update(step)
            found.append(torch.stack(losses, 1))
    reference = found[0]
    return max(float(((one - reference) / reference).abs().max()) for one in found[1:])


def check(models: tuple[str, ...] = tuple(TITLES)) -> dict[str, float]:
    """The worst relative difference per norm; raises where contenders do not agree."""
    torch.set_num_threads(1)
    worst = {
        norm: max(worst_difference(Work(model, norm, BATCH)) for model in models) for norm in NORMS
    }
    if not max(worst.values()) < TOLERANCE:
        raise SystemExit(f"the contenders do not compute the same: {worst}")
    return worst


if __name__ == "__main__":
    import json

    print(json.dumps(check()))
