"""(a) for a whole sweep: protocols/quick.toml as a good PyTorch user would write it.

``python -m benchmarks.script_sweep SEEDS PROCESSES FILE``. One process per core, seeds in a loop,
DataLoader, and the same evaluations as normbench's: before training and after every epoch, on the
training, validation and test items; batch norm with running, batch and recomputed statistics.
Nothing of normbench is in it.
"""

from __future__ import annotations

import copy
import csv
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.script import small_cnn

Parts = list[tuple[Tensor, Tensor]]
EPOCHS = {"mlp": 5, "cnn": 3}
BATCHES = {"mlp": (2, 8, 32, 128), "cnn": (8, 64)}
_data: Parts = []


def parts() -> Parts:
    """600 training, 200 validation and 200 test digits, standardized; loaded once a process."""
    if not _data:
        images, labels = load_digits(return_X_y=True)
        images, _, labels, _ = train_test_split(
            images, labels, train_size=1000, stratify=labels, random_state=0
        )
        x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8)
        y = torch.tensor(labels)
        train, rest = train_test_split(range(1000), test_size=400, stratify=y, random_state=0)
        val, test = train_test_split(rest, test_size=200, stratify=y[rest], random_state=0)
        mean, std = x[train].mean(), x[train].std()
        _data.extend(((x[i] - mean) / std, y[i]) for i in (train, val, test))
    return _data


def mlp(kind: str) -> nn.Sequential:
    """Two hidden layers of 64 units with a norm each."""
    norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "group": lambda n: nn.GroupNorm(8, n)}

    def norm() -> list[nn.Module]:
        return [norms[kind](64)] if kind in norms else []

    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), *norm(), nn.ReLU(), nn.Linear(64, 64), *norm(), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def score(net: nn.Module, part: tuple[Tensor, Tensor], size: int = 256) -> tuple[float, float]:
    """Mean loss and accuracy, ``size`` items at a time; the net's mode is left as it is."""
    loss = hits = 0.0
    for x, y in zip(part[0].split(size), part[1].split(size), strict=True):
        logits = net(x)
        loss += functional.cross_entropy(logits, y, reduction="sum").item()
        hits += (logits.argmax(1) == y).sum().item()
    return loss / len(part[1]), hits / len(part[1])


@torch.no_grad()
def evaluate(net: nn.Module, batch: int) -> list[tuple[float, float]]:
    """All scores of one evaluation."""
    train, *rest = parts()
    net.eval()
    scores = [score(net, part) for part in (train, *rest)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if norms:
        kept = copy.deepcopy([m.state_dict() for m in norms])
        net.train()  # statistics of each batch; the running ones are put back below
        scores += [score(net, part, batch) for part in rest]
        update_bn(train[0].split(batch), net)  # recomputed statistics
        net.eval()
        scores += [score(net, part) for part in rest]
        for module, state in zip(norms, kept, strict=True):
            module.load_state_dict(state)
    net.train()
    return scores


def train(task: tuple[str, str, int, int]) -> list[list[Any]]:
    """One run; a row per evaluation."""
    torch.set_num_threads(1)
    model, kind, batch, seed = task
    torch.manual_seed(seed)
    net = mlp(kind) if model == "mlp" else small_cnn(kind)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05 * batch / 32, momentum=0.9)
    dataset = TensorDataset(*parts()[0])
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)
    rows = [[*task, 0, *evaluate(net, batch)]]
    for epoch in range(EPOCHS[model]):
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        rows.append([*task, epoch + 1, *evaluate(net, batch)])
    return rows


def main(seeds: int, processes: int, file: str) -> None:
    """All runs, those with the most steps first."""
    tasks = [
        (model, kind, batch, seed)
        for batch in (2, 8, 32, 64, 128) for model in EPOCHS if batch in BATCHES[model]
        for kind in ("none", "batch", "layer", "group") for seed in range(seeds)
    ]  # fmt: skip
    parts()
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, fork) as pool, open(file, "w", newline="") as out:  # noqa: PTH123
        writer = csv.writer(out)
        for rows in pool.map(train, tasks):
            writer.writerows(rows)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
