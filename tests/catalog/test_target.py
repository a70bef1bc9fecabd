"""Targets: parsed, found by reading, loaded under a private name, and covered by the identity."""

import importlib.util
import pickle
import py_compile
import struct
import sys
from pathlib import Path

import pytest

from normbench.catalog import target as targets
from normbench.catalog.args import args_of, filled
from normbench.catalog.fingerprints import target_code
from normbench.catalog.local_sources import local_sources
from normbench.catalog.target_name import parsed
from normbench.errors import ComponentError, UsageError, WorkError
from normbench.plan.code import fingerprints_of
from normbench.plan.edited import check_code
from normbench.plan.expand import expand
from normbench.protocol.load import load_protocol


@pytest.fixture(autouse=True)
def _as_before():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        place = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest" in place and "site-packages" not in place:
            del sys.modules[name]
    targets._loaded.clear()
    targets.use_root("")


@pytest.mark.parametrize("text", ["a.py:f", "sub/a.py:Net", "torchvision.models:resnet18"])
def test_targets_are_written_as_file_or_package(text):
    assert str(parsed(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a.py", "a.py:", ":f", "a.py:f()", "a/b:f", "/abs/a.py:f", "a\\b.py:f", "1a:f",
     "subprocess:run", "os.path:join", "normbench.norms.rms:build"],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_what_was_received(text):
    with pytest.raises(ValueError, match=r"target"):
        parsed(text)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__slash__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_module_of_the_folder_that_is_imported_is_found_without_importing(tmp_path):
    write(
        tmp_path,
        mine="import json\nfrom blocks import a\nfrom blocks.deep.inner import z\n"
        "def f():\n    import late\nraise SystemExit('imported')\n",
        blocks__slash____init__="",
        blocks__slash__a="from . import b\nfrom .deep import inner\n",
        blocks__slash__b="",
        blocks__slash__unused="",
        blocks__slash__deep__slash____init__="",
        blocks__slash__deep__slash__inner="from ..c import x\n",
        blocks__slash__c="x = 1\n",
        late="",
        other="",
    )
    found = set(local_sources(tmp_path / "mine.py"))
    assert found == {
        "", "late", "blocks", "blocks.a", "blocks.b", "blocks.c", "blocks.deep",
        "blocks.deep.inner",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["random", "numpy"])
def test_a_module_that_python_would_not_take_is_refused(tmp_path, name):
    write(tmp_path, mine=f"import {name}\n", **{name: ""})
    with pytest.raises(UsageError, match=f"rename {name}"):
        local_sources(tmp_path / "mine.py")


def test_what_is_no_python_is_told_with_its_line(tmp_path):
    write(tmp_path, mine="x = 1\ndef f(:\n")
    with pytest.raises(UsageError, match=r"mine\.py is no Python.*line 2"):
        local_sources(tmp_path / "mine.py")


def test_a_file_is_loaded_under_a_private_name_and_its_folder_comes_last(tmp_path):
    write(tmp_path, mine="from zz_beside import Y\nclass X(Y):\n    pass\n",
          zz_beside="class Y:\n    pass\n")  # fmt: skip
    targets.use_root(str(tmp_path))
    found = targets.load("mine.py:X")
    assert found.__module__.startswith("_normbench_mine_")
    assert "mine" not in sys.modules
    assert sys.path[-1] == str(tmp_path)
    assert targets.load("mine.py:X") is found
    assert pickle.loads(pickle.dumps(found)) is found


@pytest.mark.parametrize(
    ("source", "attribute", "said"),
    [
        ("from subprocess import run\n", "run", "only imported there, from subprocess"),
        ("from torch.nn import Linear\n", "Linear", "torch.nn.modules.linear:Linear"),
        ("x = 3\n", "x", "is int"),
        ("from functools import partial\nf = partial(int)\n", "f", "write a function"),
        ("def make():\n    pass\n", "mak", "did you mean make"),
    ],
)
def test_a_target_is_code_that_is_defined_there(tmp_path, source, attribute, said):
    write(tmp_path, mine=source)
    targets.use_root(str(tmp_path))
    with pytest.raises(UsageError, match=said):
        targets.load(f"mine.py:{attribute}")


def test_a_missing_file_or_package_says_what_to_do(tmp_path):
    targets.use_root(str(tmp_path))
    with pytest.raises(UsageError, match="relative to the folder of the protocol"):
        targets.load("gone.py:X")
    with pytest.raises(UsageError, match=r"not installed.*gone_package/a\.py:X"):
        targets.load("gone_package.a:X")


def test_a_file_beside_the_protocol_is_no_package(tmp_path, monkeypatch):
    code = "class X:\n    pass\n"
    write(tmp_path, zz_mine=code, zz_whole__slash____init__="", zz_whole__slash__part=code)
    monkeypatch.syspath_prepend(str(tmp_path))
    targets.use_root(str(tmp_path))
    for asked in (targets.load, lambda text: target_code("norm", text, str(tmp_path))):
        with pytest.raises(UsageError, match=r"write zz_mine\.py:X"):
            asked("zz_mine:X")
        with pytest.raises(UsageError, match=r"from zz_whole\.part import X"):
            asked("zz_whole.part:X")


def test_what_a_file_raises_is_its_own_failure_with_its_place(tmp_path):
    write(tmp_path, mine="def f():\n    raise ValueError('too few')\n", bad="1 / 0\n")
    targets.use_root(str(tmp_path))
    with pytest.raises(ComponentError, match=r"too few \(mine\.py, line 2\)"):
        targets.made("mine.py:f", {}, {})
    with pytest.raises(ComponentError, match=r"ZeroDivisionError.*bad\.py, line 1"):
        targets.load("bad.py:f")


def test_a_module_that_no_statement_names_is_refused(tmp_path):
    write(tmp_path, mine="import importlib\nm = importlib.import_module('zz_hidden')\n"
          "class X:\n    pass\n", zz_hidden="")  # fmt: skip
    targets.use_root(str(tmp_path))
    with pytest.raises(UsageError, match="by an import statement"):
        targets.load("mine.py:X")


def test_a_module_that_is_asked_for_when_it_runs_is_refused_afterwards(tmp_path):
    write(
        tmp_path,
        mine="import importlib\ndef f():\n    return importlib.import_module('zz_late')\n",
        other="import zz_seen\ndef g():\n    pass\n",
        zz_late="",
        zz_seen="",
    )
    targets.use_root(str(tmp_path))
    targets.made("other.py:g", {}, {})
    targets.refuse_unseen("mine.py:f")
    targets.load("mine.py:f")
    targets.refuse_unseen("mine.py:f")
    targets.refuse_unseen("other.py:g")
    targets.made("mine.py:f", {}, {})
    with pytest.raises(UsageError, match=r"zz_late\.py in a way that cannot be seen"):
        targets.refuse_unseen("mine.py:f")


def test_arguments_are_filled_in_and_unknown_ones_refused():
    args = args_of({"n": "$classes", "size": ["$channels", 3], "text": "$$x", "t": {"a": 1}})
    values = {"classes": 10, "channels": 4}
    assert filled(args, values) == {"n": 10, "size": [4, 3], "text": "$x", "t": {"a": 1}}
    assert hash(args) == hash(args_of(dict(args)))
    assert args.label == "size=[$channels, 3], text=$$x, t={a=1}"
    with pytest.raises(ValueError, match="known: "):
        args_of({"n": "$clases"})
    with pytest.raises(UsageError, match=r"no \$classes"):
        filled(args, {"channels": 4})
    with pytest.raises(TypeError):
        args["n"] = 1


NORM = (
    "from torch import nn\nfrom zz_scale import scale\nclass Mine(nn.Module):\n"
    "    def __init__(self, channels, p=2):\n        super().__init__()\n        self.p = p\n"
    "    def forward(self, x):\n        return x * scale\n"
)
PROTOCOL = """
[protocol]
seeds = 2
[defaults]
dataset = "digits"
model = "mlp"
batch_size = 8
learning_rate = 0.1
budget_steps = 2
[[experiment]]
name = "a"
product.norm = ["layer", { name = "own", target = "mine.py:Mine", args = { p = 3 } }]
"""


def planned(folder: Path):
    study = load_protocol(folder / "own.toml")
    return expand(study, None, fingerprints_of(study))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, mine=NORM, zz_scale="scale = 2\n", unused="")
    (tmp_path / "own.toml").write_text(PROTOCOL)
    return tmp_path


def test_a_run_is_its_code_wherever_the_protocol_lies(folder, tmp_path_factory):
    first = planned(folder)
    assert first[0].cell.norm.label == "layer"
    assert first[-1].cell.norm.label == "mine.py:Mine(p=3)"
    copied = tmp_path_factory.mktemp("copy")
    for path in folder.iterdir():
        if path.is_file():
            (copied / path.name).write_bytes(path.read_bytes())
    assert [run.run_hash for run in planned(copied)] == [run.run_hash for run in first]
    assert pickle.loads(pickle.dumps(first[-1])).root == str(folder)
    (folder / "unused.py").write_text("x = 1\n")
    assert [run.run_hash for run in planned(folder)] == [run.run_hash for run in first]
    (folder / "zz_scale.py").write_text("scale = 3\n")
    again = planned(folder)
    assert again[0].run_hash == first[0].run_hash
    assert again[-1].run_hash != first[-1].run_hash


def test_a_worker_imports_nothing_that_was_not_planned(folder):
    run = planned(folder)[-1]
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n" + NORM)
    with pytest.raises(WorkError, match=r"norm mine\.py:Mine changed while this was running"):
        check_code(run)
    assert not (folder / "ran").exists()


def test_an_edited_file_is_imported_anew(folder):
    check_code(planned(folder)[-1])
    first = targets.made("mine.py:Mine", {}, {"channels": 2}, "channels")
    assert first(1) == 2
    (folder / "zz_scale.py").write_text("scale = 30\n")
    check_code(planned(folder)[-1])
    assert targets.made("mine.py:Mine", {}, {"channels": 2}, "channels")(1) == 30


def test_bytecode_that_came_with_a_folder_is_never_run(tmp_path):
    write(tmp_path, mine="from zz_beside import y\ndef f():\n    return y\n", zz_beside="y = 1\n")
    cached = tmp_path / "__pycache__"
    for name, other in (("mine", "def f():\n    return 2\n"), ("zz_beside", "y = 3\n")):
        source = tmp_path / f"{name}.py"
        wrong = tmp_path / "wrong.py"
        wrong.write_text(other)
        made = Path(importlib.util.cache_from_source(str(source)))
        py_compile.compile(str(wrong), cfile=str(made), doraise=True)
        wrong.unlink()
        stat = source.stat()
        told = struct.pack("<II", int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF)
        content = made.read_bytes()
        made.write_bytes(content[:8] + told + content[16:])
    before = {path.name: path.read_bytes() for path in cached.iterdir()}
    targets.use_root(str(tmp_path))
    assert targets.made("mine.py:f", {}, {}) == 1
    assert {path.name: path.read_bytes() for path in cached.iterdir()} == before


def test_a_module_without_its_source_is_not_imported(tmp_path):
    write(tmp_path, mine="import zz_secret\ndef f():\n    pass\n", zz_secret="")
    py_compile.compile(str(tmp_path / "zz_secret.py"), cfile=str(tmp_path / "zz_secret.pyc"))
    (tmp_path / "zz_secret.py").unlink()
    targets.use_root(str(tmp_path))
    with pytest.raises(ComponentError, match="No module named 'zz_secret'"):
        targets.load("mine.py:f")


def test_a_packages_target_is_its_distribution_and_torch_its_version(tmp_path):
    code = target_code("model", "torchvision.models:resnet18", str(tmp_path))
    assert code.distribution == "torchvision"
    assert code.version
    import torch

    assert target_code("norm", "torch.nn:GroupNorm", "").version == torch.__version__.split("+")[0]
