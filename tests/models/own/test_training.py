"""A network of the user's own in a run: engines, evaluations, weights, identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from normbench.calibration.trial import why_not_stacked
from normbench.catalog.target import use_root
from normbench.errors import UsageError, WorkError
from normbench.models.own.network import OwnNet
from normbench.plan.code import weights_code
from normbench.plan.edited import check_code
from normbench.plan.spec import RunSpec, cell_hash
from normbench.training.data import prepare
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.models.own import nets
from tests.training.engines import assert_as_alone, in_double, train_alone

GROUP = {"name": "group", "groups": 4}


def run(name: str, norm: Any = "keep", seed: int = 0, **axes: Any) -> RunSpec:
    params = axes.pop("params", {})
    model = {
        "name": "torch",
        "target": f"tests.models.own.nets:{name}",
        "args": {"num_classes": "$classes"},
        **params,
    }
    return run_of(seed=seed, model=model, norm=norm, **({"epochs": 2} | axes))


@pytest.mark.parametrize(
    ("name", "norm", "axes"),
    [
        ("Small", "keep", {}),
        ("Small", "batch", {"batch_size": 8, "norm_batch_size": 4}),
        ("Small", GROUP, {"optimizer": "adamw", "clip_norm": 0.5}),
        ("Small", "batch-frozen", {}),
        ("Dropping", "layer-channels", {}),
        ("Shared", "none", {}),
        ("one_dimensional", "keep", {}),
        ("Tokens", "rms", {}),
    ],
    ids=str,
)
def test_seeds_are_stacked_as_alone(name: str, norm: Any, axes: dict[str, Any]) -> None:
    runs = [run(name, norm, seed, **axes) for seed in range(3)]
    assert why_not_stacked(runs[0], prepare(runs[0].cell)) == ""
    assert_as_alone(runs, make=StackedEngine)


def test_kept_batch_norm_has_three_evaluations() -> None:
    one = run("Small")
    rows = train_alone(one, in_double(prepare(one.cell))).epochs
    kinds = [f"{kind}_loss" for kind in ("val", "val_recomputed", "val_batch")]
    assert all(rows[-1][kind] > 0 for kind in kinds)
    assert len({rows[-1][kind] for kind in kinds}) == 3
    engine = PlainEngine(run("Small", GROUP), prepare(one.cell))
    assert not engine.batch_statistics


def test_a_network_that_draws_trains_one_seed_after_the_other_and_repeats() -> None:
    one = run("Drawing")
    data = prepare(one.cell)
    assert why_not_stacked(one, data) == "its forward pass draws random numbers besides dropout's"
    torch.manual_seed(1)
    first = train_alone(one, data)
    torch.manual_seed(2)
    again = train_alone(one, data)
    assert [row["val_loss"] for row in first.epochs] == [row["val_loss"] for row in again.epochs]


def test_an_output_that_is_not_trained_has_no_part_in_it() -> None:
    one = run("Shared", optimizer={"name": "sgd", "weight_decay": 0.0})
    engine = PlainEngine(one, prepare(one.cell))
    assert isinstance(engine.model, OwnNet)
    before = engine.model.net.aside.weight.clone()
    engine.step(torch.arange(8)[None], 0)
    assert torch.equal(before, engine.model.net.aside.weight)


def test_frozen_parameters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def frozen(num_classes: int) -> nn.Module:
        net = nets.Small(num_classes)
        net.conv1.requires_grad_(False)
        net.bn1.requires_grad_(False)
        return net

    frozen.__module__ = nets.__name__
    monkeypatch.setattr(nets, "frozen", frozen, raising=False)
    for norm in ("keep", GROUP):
        runs = [
            run("frozen", norm, seed, optimizer={"name": "sgd", "weight_decay": 0.1},
                params={"bias_before": "as-is"})
            for seed in range(2)
        ]  # fmt: skip
        engine = PlainEngine(runs[0], prepare(runs[0].cell))
        before = {n: p.clone() for n, p in engine.model.named_parameters()}
        engine.step(torch.arange(8)[None], 0)
        same = {n for n, p in engine.model.named_parameters() if torch.equal(p, before[n])}
        assert same == {"net.conv1.weight", "net.bn1.weight", "net.bn1.bias"}
        assert_as_alone(runs, make=StackedEngine)


# -- weights --------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    use_root(str(tmp_path))
    yield tmp_path
    use_root("")


def trained(num_classes: int = 10) -> nets.Small:
    torch.manual_seed(3)
    net = nets.Small(num_classes)
    net(torch.randn(4, 1, 8, 8))
    return net


def loaded(file: str, seed: int = 0) -> OwnNet:
    one = run("Small", "keep", seed, params={"weights": file})
    return OwnNet(one.cell, (1, 8, 8), 10, seed)


def test_trained_weights_come_from_safetensors_or_a_state_dict(root: Path) -> None:
    net = trained()
    save_file(net.state_dict(), root / "w.safetensors")
    torch.save(net.state_dict(), root / "w.pt")
    torch.save({"state_dict": {f"module.{n}": t for n, t in net.state_dict().items()}},
               root / "in.pth")  # fmt: skip
    for file in ("w.safetensors", "w.pt", "in.pth"):
        for seed in (0, 1):
            own = loaded(file, seed)
            assert torch.equal(own.net.fc.weight, net.fc.weight)
            assert torch.equal(own.net.bn1.running_mean, net.bn1.running_mean)
            assert own.warnings == ()


def test_a_last_layer_for_other_classes_starts_anew(root: Path) -> None:
    save_file(trained(1000).state_dict(), root / "w.safetensors")
    own = loaded("w.safetensors")
    assert own.warnings == (
        "fc.weight is not taken from w.safetensors: its shape differs",
        "fc.bias is not taken from w.safetensors: its shape differs",
    )
    assert torch.equal(own.net.conv1.weight, trained(1000).conv1.weight)
    assert not torch.equal(own.net.fc.weight, loaded("w.safetensors", 1).net.fc.weight)


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


def test_a_pickle_of_objects_is_refused_and_not_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    for name, content in (("evil.pt", Evil()), ("whole.pt", trained())):
        torch.save(content, root / name)
        with pytest.raises(UsageError, match=rf"{name} holds more than weights"):
            loaded(name)
    assert not (root / "touched").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("conv1.weight"), "it lacks: conv1.weight"),
        (lambda s: s.update(more=torch.ones(1)), "the network has no: more"),
        (
            lambda s: s.update({"conv1.weight": torch.ones(4, 1, 3, 3)}),
            r"other shapes have: conv1.weight \(\(4, 1, 3, 3\) for \(8, 1, 3, 3\)\)",
        ),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, said: str, root: Path) -> None:
    state = dict(trained().state_dict())
    change(state)
    torch.save(state, root / "w.pt")
    with pytest.raises(UsageError, match=said):
        loaded("w.pt")


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_files_without_weights_are_refused(name: str, content: bytes, root: Path) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(UsageError, match=f"{name} (is no file of weights|holds more than weights)"):
        loaded(name)


def test_a_file_that_is_not_there_or_not_beside_the_protocol_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"need the file .*, which is not there"):
        loaded("absent.pt")
    for name in ("/w.pt", "w.pkl"):
        with pytest.raises(UsageError, match=r"weights are a file of|relative to the protocol"):
            run("Small", params={"weights": name})


def test_the_content_of_weights_is_part_of_a_runs_identity(root: Path) -> None:
    save_file(trained().state_dict(), root / "w.safetensors")
    one = cell(model=run("Small", params={"weights": "w.safetensors"}).cell.model.model_dump(),
               norm="keep")  # fmt: skip
    code = weights_code("w.safetensors", str(root))
    before = cell_hash(one, {code.component: code})
    assert before != cell_hash(one)
    torch.manual_seed(9)
    save_file(nets.given().state_dict(), root / "w.safetensors")
    other = weights_code("w.safetensors", str(root))
    assert cell_hash(one, {other.component: other}) != before
    planned = RunSpec("one", one, 0, code=(code,), root=str(root))
    with pytest.raises(WorkError, match="changed while this was running"):
        check_code(planned)
