"""The machine and the versions, without any name or path."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.lanes import cores

PACKAGES = ("torch", "numpy", "normbench", "lightning")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """Processor, cores, memory, versions and how busy the machine was when this was asked."""
    import torch

    model = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    virtual = "hypervisor" in _read("/proc/cpuinfo")
    libraries = re.findall(r"(oneAPI Math Kernel|MKL-DNN).*?(v?\d[\w.]+)", torch.__config__.show())
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "virtual": virtual,
        "cores": os.cpu_count(),
        "cores used": len(cores()),
        "memory GiB": round(int(memory.group(1)) / 2**20) if memory else None,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "libraries": {
            "oneDNN" if name == "MKL-DNN" else "MKL": number for name, number in libraries
        },
        "load before": round(os.getloadavg()[0], 2),
    }
