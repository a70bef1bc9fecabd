"""``python -m benchmarks``: time everything, store the numbers, write README.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PARTS = ("steps", "sweeps", "profile")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a few cells and a small sweep, in some minutes")
    add("--profile", action="store_true", help="only where a step's time goes")
    add("--render", action="store_true", help="only write README.md anew from the stored numbers")
    add("--only", choices=("steps", "sweeps"), help="only this part; the other is kept")
    add("--seconds", type=float, default=None, help="of timing per cell, at least [default: 12]")
    return parser.parse_args()


def _tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _module(name: str, *arguments: str) -> Any:
    """What a module of this package prints as JSON, run in a process of its own."""
    from benchmarks.lanes import one_thread

    with one_thread():
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _measure(options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Fill in what the options ask for; what was measured on another machine is left out."""
    from benchmarks import lanes, machine, sweeps, with_lightning, work

    described, before = machine.describe(), content.get("machine", {})
    if any(described[key] != before.get(key) for key in described if key != "load before"):
        content.clear()
    content["machine"] = described
    content.setdefault("seconds", {})
    parts = ("profile",) if options.profile else PARTS if options.only is None else (options.only,)
    if "steps" in parts:
        started = time.perf_counter()
        # drawn once before the processes ask for them, so that none waits for another's drawing
        work.prepared(work.Work("alexnet", "none", 2))
        _tell("the contenders are compared")
        content["agreement"] = _module("agree")
        cells = work.quick_work() if options.quick else work.all_work()
        kinds = lanes.ORDER
        if not with_lightning.installed():
            _tell("Lightning is not installed here: (b) is left out")
            kinds = tuple(kind for kind in kinds if kind != "b")
        seconds = options.seconds or (3.0 if options.quick else 12.0)
        content["cells"] = lanes.time_all(cells, kinds, seconds, _tell)
        content["left out"] = len(cells) - len(content["cells"])
        content["seconds"]["steps"] = round(time.perf_counter() - started)
    if "sweeps" in parts:
        started = time.perf_counter()
        content["sweeps"] = sweeps.measure(_tell, options.quick)
        content["seconds"]["sweeps"] = round(time.perf_counter() - started)
    if "profile" in parts:
        started = time.perf_counter()
        _tell("profile")
        content["profile"] = _module("profiling", *(["--quick"] if options.quick else []))
        content["seconds"]["profile"] = round(time.perf_counter() - started)


def main() -> None:
    """Do what the command line asks for."""
    from benchmarks import render

    options = _options()
    store = RESULTS / ("quick.json" if options.quick else "bench.json")
    page = RESULTS / "quick.md" if options.quick else HERE / "README.md"
    content = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    if not options.render:
        _measure(options, content)
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(content, separators=(",", ":")).replace('{"model"', '\n{"model"')
        store.write_text(text + "\n", encoding="utf-8")
    page.write_text(render.page(content), encoding="utf-8")
    _tell(f"written: {page.name} and {store.name}")


if __name__ == "__main__":
    main()
