"""Start-up: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "pandas", "scipy", "seaborn", "matplotlib", "sklearn", "pyarrow")


def imported_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after running ``code``."""
    ending = f"\nimport sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code + ending], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def command(*arguments: str) -> str:
    """Code that runs a command line and stays alive."""
    return (
        f"import sys; sys.argv = ['normbench', *{list(arguments)!r}]\n"
        "from normbench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )


def test_the_check_sees_an_import() -> None:
    assert imported_by("import pyarrow") == {"pyarrow"}


@pytest.mark.parametrize(
    "code",
    [
        "import normbench; normbench.__version__",
        "import normbench.plan.expand, normbench.plan.seeds",
        "from normbench.protocol.load import load_protocol; load_protocol('quick')",
        command("--help"),
        command("--version"),
        command("run", "--help"),
        command("plan", "--help"),
        command("schema"),
    ],
    ids=["package", "plan", "protocol", "help", "version", "run-help", "plan-help", "schema"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert imported_by(code) == set()


def test_the_package_lists_its_public_names_and_nothing_is_imported_for_it() -> None:
    import normbench

    assert dir(normbench) == ["Results", "__version__", "analyse", "load"]
    assert all(getattr(normbench, name) for name in dir(normbench))
    assert imported_by("import normbench; dir(normbench)") == set()


def test_the_process_that_leads_a_sweep_does_without_torch(tmp_path) -> None:
    text = (
        '[protocol]\nname = "tiny"\nseeds = 2\n[defaults]\nepochs = 1\nlearning_rate = 0.05\n'
        'dataset = { name = "digits", items = 100 }\nmodel = "mlp"\nbatch_size = 20\n'
        '[[experiment]]\nname = "one"\nnorm = "batch"\n'
    )
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    where = ["--results", str(tmp_path / "results")]
    code = command("run", str(tmp_path / "tiny.toml"), *where, "--device", "cpu", "--workers", "1")
    assert imported_by(code) & {"torch", "sklearn", "scipy"} == set()


def test_results_are_loaded_on_demand() -> None:
    code = "import normbench; assert 'load' in normbench.__all__; normbench.load"
    assert "pandas" in imported_by(code)
    assert "torch" not in imported_by(code)


def test_an_unknown_attribute_of_the_package_is_an_error() -> None:
    import normbench

    with pytest.raises(AttributeError, match="laod"):
        normbench.laod  # noqa: B018


def test_help_is_quick() -> None:
    """Seconds of processor time: on an idle machine those of the clock, on a busy one fewer."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "normbench", "--help"], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert done.returncode == 0
        assert "run" in done.stdout
    assert min(taken) < 0.5
