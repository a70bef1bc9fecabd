"""Finding the norms of a network and the shapes of what they see, by one forward pass."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from normbench.datasets.drawing import drawing, random_states
from normbench.errors import UsageError
from normbench.models.dropout import StreamDropout
from normbench.models.own.kinds import Kind, is_unknown_norm, kind_of, looks_like_a_norm

#: Items of the forward pass: a prime, so that no other dimension is likely to be a multiple of it,
#: and more than one, so that batch norm has statistics.
ITEMS = 3
_FUNCTIONS = ("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm")
_CALLS = {
    getattr(place, name): name
    for place in (functional, torch)
    for name in _FUNCTIONS
    if hasattr(place, name)
}


@dataclass(frozen=True)
class NormSite:
    """A norm of a network.

    ``names`` are its qualified names: more than one where a module is shared. ``shape`` is that of
    a sample with the channels first, and ``rows`` how many such samples an item makes, where a
    network folds positions into the batch; None where the forward pass does not reach it.
    ``before`` names the layer without bias whose output it takes, ``parameters`` counts the numbers
    that it learns, and ``fault`` says why no statistics over items can be taken there.
    """

    names: tuple[str, ...]
    kind: Kind
    type: str
    shape: tuple[int, ...] | None = None
    last: bool = False
    rows: int = 1
    before: str = ""
    parameters: int = 0
    fault: str = ""

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


@dataclass(frozen=True)
class Survey:
    """The norms of a network in the order in which they are called, and what else was seen.

    ``unknown`` are subclasses of norms, by name; ``warnings`` are for people. ``draws`` says that
    training draws random numbers besides dropout's.
    """

    sites: tuple[NormSite, ...]
    unknown: Mapping[str, str]
    warnings: tuple[str, ...]
    draws: bool
    outputs: tuple[int, ...]


def norms_of(model: nn.Module) -> dict[nn.Module, list[str]]:
    """The norm modules of known types, each once, with all their names."""
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if kind_of(module) is not None:
            found.setdefault(module, []).append(name)
    return found


def survey(model: nn.Module, shape: tuple[int, ...]) -> Survey:
    """Pass a few items of ``shape`` through a copy of the network in training, and look.

    Raises :class:`UsageError` where what comes out is nothing that can be trained on, and whatever
    the network raises.
    """
    norms = norms_of(model)
    unknown = {n: type(m).__name__ for n, m in model.named_modules() if is_unknown_norm(m)}
    private = copy.deepcopy(model).train()
    seen = _Seen(private)
    x = torch.randn((ITEMS, *shape), generator=torch.Generator().manual_seed(0))
    for module in private.modules():
        if isinstance(module, StreamDropout):
            module.seed(0, torch.device("cpu"))
    with drawing(0), torch.no_grad(), seen.watching():
        before = random_states()
        outputs = logits_of(private(x))
        draws = before != random_states()
    order = {name: i for i, name in enumerate(seen.inputs)}
    sites = [_site(module, names, seen) for module, names in norms.items()]
    sites.sort(key=lambda site: order.get(site.name, len(order)))
    return Survey(
        sites=tuple(sites),
        unknown=unknown,
        warnings=tuple(_warnings(model, sites, seen)),
        draws=draws,
        outputs=tuple(outputs.shape),
    )


def logits_of(found: Any) -> Tensor:
    """A network's logits: what it gives, or the first of several outputs."""
    while not isinstance(found, Tensor):
        if isinstance(found, Mapping) and found:
            found = found["logits"] if "logits" in found else next(iter(found.values()))
        elif isinstance(getattr(found, "logits", None), Tensor):
            found = found.logits
        elif isinstance(found, tuple | list) and found:
            found = found[0]
        else:
            raise UsageError(
                "a network gives a tensor, or several of which the first is the logits; received "
                f"{type(found).__name__}"
            )
    return found


class _Seen(TorchFunctionMode):
    """What happens in a forward pass: inputs of norms, and norm functions that none of them calls.

    ``inputs`` has the shapes of all calls by the first name of a norm, ``before`` the layer without
    bias that made its input.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.inputs: dict[str, list[tuple[int, ...]]] = {}
        self.before: dict[str, str] = {}
        self.loose: Counter[tuple[str, str]] = Counter()
        self._inside: list[tuple[str, bool]] = [("", False)]
        #: Outputs of layers without bias; held, so that no other tensor gets their identity.
        self._made: dict[int, tuple[str, Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        name = _CALLS.get(func)
        place, in_norm = self._inside[-1]
        if name is not None and not in_norm:
            self.loose[name, place] += 1
        return func(*args, **(kwargs or {}))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, calls of the model's modules are noted."""
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    continue
                before, after = self._hooks(name, module)
                stack.callback(module.register_forward_pre_hook(before).remove)
                stack.callback(module.register_forward_hook(after).remove)
            with self:
                yield

    def _hooks(self, name: str, module: nn.Module) -> tuple[Any, Any]:
        norm = kind_of(module) is not None
        inside = norm or is_unknown_norm(module)
        bare = isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and module.bias is None

        def before(_module: nn.Module, given: tuple[Any, ...]) -> None:
            self._inside.append((name, inside or self._inside[-1][1]))
            if norm and given and isinstance(given[0], Tensor):
                self.inputs.setdefault(name, []).append(tuple(given[0].shape))
                if id(given[0]) in self._made:
                    self.before[name] = self._made[id(given[0])][0]

        def after(_module: nn.Module, _given: Any, found: Any) -> None:
            self._inside.pop()
            if bare and isinstance(found, Tensor):
                self._made[id(found)] = (name, found)

        return before, after


def _site(module: nn.Module, names: list[str], seen: _Seen) -> NormSite:
    kind = kind_of(module)
    assert kind is not None  # noqa: S101  (that is how it was found)
    parameters = sum(p.numel() for p in module.parameters(recurse=False))
    site = NormSite(tuple(names), kind, type(module).__name__, parameters=parameters)
    calls = list(dict.fromkeys(seen.inputs.get(names[0], ())))
    if not calls:
        return site
    shape = calls[0]
    last = _channels_last(module, kind, shape)
    fault = ""
    if len(shape) < 2 or shape[0] % ITEMS:
        fault = f"its input, {shape} for {ITEMS} items, has no items in its first dimension"
    elif any(call[1:] != shape[1:] for call in calls):
        fault = "it is called with samples of " + " and ".join(str(call[1:]) for call in calls)
    return replace(
        site,
        shape=(shape[-1], *shape[1:-1]) if last else shape[1:],
        last=last,
        rows=max(1, shape[0] // ITEMS),
        before=seen.before.get(names[0], ""),
        fault=fault,
    )


def _channels_last(module: nn.Module, kind: Kind, shape: tuple[int, ...]) -> bool:
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
        # over a whole sample, channels are where images have them
        return kind.last and tuple(module.normalized_shape) != shape[1:]
    if kind.family == "given":
        wanted = getattr(module, "channels", None)
        fits_first = len(shape) > 1 and shape[1] == wanted
        return shape[-1] == wanted and (not fits_first or len(shape) == 3)
    return kind.last and len(shape) > 2


def _warnings(model: nn.Module, sites: list[NormSite], seen: _Seen) -> Iterator[str]:
    for (name, place), count in seen.loose.items():
        times = "once" if count == 1 else f"{count} times"
        yield (
            f"{name} is called {times} in the forward pass of {place or 'the network'}, outside "
            "any norm module: it stays as it is"
        )
    for site in sites:
        if site.shape is None:
            yield f"the norm {site.name} is not reached by a forward pass: it stays as it is"
    for name, module in model.named_modules():
        if looks_like_a_norm(module) and not is_unknown_norm(module):
            yield (
                f"{name or 'the network'} ({type(module).__name__}) is called a norm and is of no "
                "known type: it stays as it is"
            )
