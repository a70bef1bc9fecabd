"""``normbench run``: exit statuses, messages and what it records of its options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normbench.results.store import Store
from tests.support import FATES, TINY, status_counts

ONE = ("--only", "norm=batch", "--only", "batch_size=8")


def record(folder: Path) -> list[dict[str, object]]:
    content = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    return content["invocations"]


def test_a_sweep_says_what_it_did_and_ends_with_0(cli, tiny):
    said = cli("run", tiny, "--workers", "0")
    assert said.status == 0
    assert said.err == ""
    assert "Tiny study" in said.out
    assert "8 runs to train on 1 worker(s)" in said.out
    assert "results/tiny: 8 finished" in said.out
    said = cli("run", tiny, "--workers", "0")
    assert "0 runs to train on 1 worker(s), 8 done before" in said.out


def test_what_is_left_out_is_not_called_done(cli, tiny):
    said = cli("run", tiny, "--workers", "0", *ONE)
    assert "2 runs to train on 1 worker(s)\n" in said.out
    assert "done before" not in said.out
    assert "2 finished, 6 missing" in said.out


def test_quiet_says_nothing(cli, tiny):
    said = cli("run", tiny, "--workers", "0", "--quiet", *ONE)
    assert (said.status, said.out, said.err) == (0, "", "")


def test_options_are_obeyed_and_recorded(cli, tiny, tmp_path):
    folder = tmp_path / "elsewhere"
    said = cli(
        "run", tiny, "--workers", "0", "--results", folder, "--seeds", "1",
        "--set", "epochs=2", "--set", "experiment.one.product.batch_size=[4]",
        "--only", "norm=layer",
    )  # fmt: skip
    assert said.status == 0
    assert status_counts(folder) == {"finished": 1, "missing": 1}
    (row,) = [r for r in Store(folder).read("runs").to_pylist() if r["status"] == "finished"]
    assert (row["epochs"], row["batch_size"], row["norm"], row["seed"]) == (2, 4, "layer", 0)
    (invocation,) = record(folder)
    assert invocation["overrides"] == [
        "epochs=2", "experiment.one.product.batch_size=[4]", "seeds=1"
    ]  # fmt: skip
    assert invocation["only"] == ["norm=layer"]
    assert invocation["command"][:2] == ["normbench", "run"]
    assert "--seeds" in invocation["command"]


def test_runs_without_meaning_or_end_are_no_failure(cli, tmp_path):
    (tmp_path / "fates.toml").write_text(FATES, encoding="utf-8")
    said = cli("run", "fates.toml", "--workers", "0")
    assert said.status == 0
    assert "2 diverged, 2 finished, 2 undefined" in said.out


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run of batch norm fails, with an error that looks like markup."""
    import normbench.training.group as group

    real = group.train

    def train(engine):
        if engine.runs[0].cell.norm.name == "batch":
            raise ValueError("no [/bold] such [C, H, W] shape")
        return real(engine)

    monkeypatch.setattr(group, "train", train)


def test_failed_runs_end_with_1_and_their_errors(cli, tiny, failing):
    said = cli("run", tiny, "--engine", "plain", "--workers", "0")
    assert said.status == 1
    error = "ValueError: no [/bold] such [C, H, W] shape"
    assert f"failed one, batch, batch size 8, seed 0: {error}" in said.out
    assert f"4 × {error}" in said.err
    assert "run the same command again" in said.err
    assert "Traceback" not in said.err
    assert status_counts(Path("results/tiny")) == {"finished": 4, "failed": 4}


def test_failed_runs_are_mended_by_running_again(cli, tiny, request, monkeypatch):
    with monkeypatch.context():
        request.getfixturevalue("failing")
        assert cli("run", tiny, "--engine", "plain", "--workers", "0").status == 1
    import normbench.training.group as group
    from normbench.training.loop import train

    monkeypatch.setattr(group, "train", train)
    said = cli("run", tiny, "--engine", "plain", "--workers", "0")
    assert said.status == 0
    assert "4 runs to train on 1 worker(s), 4 done before" in said.out
    assert status_counts(Path("results/tiny")) == {"finished": 8}


@pytest.mark.parametrize(
    "title", ["a [/] b", "[red]x", "[/bold]", "[link=x]y", "<script>", "统计 [1]"]
)
def test_a_title_is_printed_as_it_is(cli, tmp_path, title):
    text = TINY.replace("Tiny study", title)
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    said = cli("run", "tiny.toml", "--workers", "0", *ONE)
    assert said.status == 0
    assert said.out.splitlines()[0] == title


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "norm=nope"), "no run has norm = 'nope'"),
        (("--only", "nrom=batch"), "did you mean 'norm'"),
        (("--only", "norm"), "--only takes axis=value"),
        (("--set", "epocs=2"), "did you mean 'epochs'"),
        (("--set", "epochs"), "--set takes key=value"),
        (("--set", "batch_size=0"), "must be at least 1"),
        (("--set", "experiment.two.epochs=2"), "there is no experiment 'two'"),
        (("--set", "batch_size=61"), "must not exceed the training split"),
        (("--seeds", "0"), "--seeds must be at least 1"),
        (("--seeds", "1000000000000"), "number of seeds must lie between"),
        (("--workers", "-1"), "--workers"),
        (("--device", "tpu9"), "is not on this machine"),
        (("--results", "/proc/nowhere"), "cannot write to the results folder"),
    ],
)
def test_wrong_options_end_with_2_and_start_nothing(cli, tiny, arguments, words):
    said = cli("run", tiny, "--workers", "0", *arguments)
    assert said.status == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert not Path("results").exists()


BAD = {
    "unknown names": (
        TINY.replace("epochs = 1", "epocs = 1").replace('"batch", "layer"', '"batch", "layr"')
        .replace('name = "mlp"', 'name = "mlq"'),
        ["epocs", "did you mean 'epochs'", "layr", "did you mean 'layer'", "mlq",
         "did you mean 'mlp'"],
    ),
    "absurd values": (
        TINY.replace("seeds = 2", "seeds = 1000000000000").replace("0.1", "-0.1")
        .replace("[8, 16]", '[0, "x"]').replace("window = 1", "window = 0"),
        ["protocol.seeds", "learning_rate", "batch_size[0]", "batch_size[1]", "protocol.window"],
    ),
    "parts that do not fit": (
        TINY.replace("[0.3]", "[30.0]").replace("[8, 16]", "[8, 8]")
        + "batch_siz = [3]\n" + '[[experiment]]\nname = "one"\nnorm = "none"\n',
        ["batch_siz", "the values must differ"],
    ),
    "no TOML": ("[protocol\n", ["not valid TOML", "line 1"]),
    "not UTF-8": (b"# \xff\xfe\n", ["UTF-8"]),
    "empty": ("", ["experiment", "this key is required"]),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_protocol_ends_with_2_and_names_all_its_faults(cli, tmp_path, kind, command):
    content, words = BAD[kind]
    path = tmp_path / "bad.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = cli(command, path)
    assert said.status == 2
    assert said.err.startswith(f"error: {path}: ")
    assert [w for w in words if w not in said.err] == []
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not Path("results").exists()


def test_an_unknown_protocol_names_the_nearest_and_the_bundled_ones(cli, tiny):
    said = cli("run", "tny.toml")
    assert said.status == 2
    assert "did you mean tiny.toml?" in said.err
    said = cli("run", "quikc")
    assert said.status == 2
    assert "did you mean quick?" in said.err
    assert "bundled protocols, usable by name:" in said.err


def test_a_folder_is_no_protocol(cli, tmp_path):
    said = cli("run", tmp_path)
    assert said.status == 2
    assert "is a folder" in said.err


def test_a_full_disk_ends_with_1_and_a_message(cli, tiny, monkeypatch):
    import errno

    from normbench.results import files

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        said = cli("run", tiny, "--workers", "0")
    assert said.status == 1
    assert "No space left on device" in said.err
    assert "make room" in said.err
    assert "Traceback" not in said.err
    assert cli("run", tiny, "--workers", "0").status == 0


def test_a_damaged_table_is_set_aside_with_a_word(cli, tiny, caplog):
    cli("run", tiny, "--workers", "0", *ONE)
    Path("results/tiny/epochs.parquet").write_bytes(b"PAR1")
    said = cli("run", tiny, "--workers", "0")
    assert said.status == 0
    assert "8 runs to train" in said.out
    assert "epochs.parquet was damaged and is set aside" in caplog.text
