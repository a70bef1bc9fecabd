"""Which devices there are, and how a worker is made to see one of them alone.

Verified on the CPU and with pretended accelerators only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from normbench.errors import UsageError

#: The environment variable that restricts a process to some devices, by their type.
_VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK"}


def accelerator() -> str | None:
    """The type of this machine's accelerator, such as ``cuda``, or None."""
    import torch  # here and below: the process that leads a sweep does without

    found = torch.accelerator.current_accelerator(check_available=True)
    return found.type if found is not None else None


def accelerators() -> list[str]:
    """The names of the accelerators that this process may use, as their driver numbers them.

    Where the environment already restricts the process (``CUDA_VISIBLE_DEVICES``), these are the
    names given there, so that a worker is restricted further and not to other devices.
    """
    kind = accelerator()
    if kind is None:
        return []
    import torch

    count = torch.accelerator.device_count()
    given = os.environ.get(_VISIBLE.get(kind, ""), "")
    names = [name.strip() for name in given.split(",") if name.strip()]
    return names[:count] if names else [str(i) for i in range(count)]


def choose_device(device: str, find: Callable[[], str | None] | None = None) -> str:
    """``auto`` as the machine's accelerator or ``cpu``; others are checked to be there.

    ``find`` tells the machine's accelerator; by default it is :func:`accelerator`.
    """
    if device == "cpu":
        return device
    found = accelerator() if find is None else find()
    if device == "auto":
        return found or "cpu"
    if device != found:
        raise UsageError(
            f"--device {device} is not on this machine; it has cpu"
            + (f" and {found}" if found else " alone")
        )
    return device


def choose_devices(device: str, wanted: str | None, workers: int | None = None) -> list[str]:
    """The accelerators to use: all, or those that ``wanted`` lists by place, such as ``0,2``.

    Empty for the CPU. Raises :class:`UsageError` for places that do not exist or repeat, and where
    there are no ``workers`` to see them.
    """
    if wanted is not None and workers == 0:
        raise UsageError(
            "--devices gives each worker a device of its own, and with --workers 0 there is none; "
            "leave one of the two out, or choose by the driver's variable, such as "
            "CUDA_VISIBLE_DEVICES"
        )
    if device == "cpu":
        if wanted is not None:
            raise UsageError("--devices chooses among accelerators, and this run is on the CPU")
        return []
    there = accelerators()
    if wanted is None:
        return there
    places = [part.strip() for part in wanted.split(",")]
    known = [str(i) for i in range(len(there))]
    if len(set(places)) != len(places) or not set(places) <= set(known):
        raise UsageError(
            f"--devices takes different numbers from 0 to {len(there) - 1}, such as "
            f"{','.join(known[:2])}; received {wanted!r}"
        )
    return [there[int(place)] for place in places]


def worker_variables(device: str, names: Sequence[str], workers: int) -> list[dict[str, str]]:
    """For each worker, the environment variables that show it its own device alone."""
    variable = _VISIBLE.get(device)
    if variable is None or not names:
        return [{} for _ in range(workers)]
    return [{variable: names[i % len(names)]} for i in range(workers)]


def default_workers(device: str, names: Sequence[str], threads: int = 1) -> int:
    """Workers for a device: one per accelerator, or as many as the cores give ``threads`` each."""
    if device != "cpu":
        return max(1, len(names))
    from normbench.datasets.parallel import usable_cores

    return max(1, usable_cores() // threads)


def device_name(device: str) -> str:
    """What the accelerator calls itself; empty for the CPU, which is recorded elsewhere."""
    if not device.startswith("cuda"):
        return ""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def synchronize(device: str) -> None:
    """Wait until the device has done what it was asked for."""
    if device != "cpu":
        import torch

        torch.accelerator.synchronize()
