"""What an executor does: tasks in, finished tasks out, in whatever order they finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from normbench.errors import ComponentError
from normbench.place import told

Task = TypeVar("Task")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Done(Generic[Task, Value]):
    """A finished task: its value, or what went wrong: an error, or the worker's death.

    ``died`` says that the worker did, and ``killed`` that it was killed as the system does where
    memory runs out.
    """

    task: Task
    value: Value | None
    error: str | None = None
    died: bool = False
    killed: bool = False


class Executor(Protocol):
    """Runs a function over tasks. One task's failure never ends the others."""

    def map(
        self,
        function: Callable[[Task], Value],
        tasks: Sequence[Task],
        limit: Callable[[Task], float | None] | None = None,
    ) -> Iterator[Done[Task, Value]]:
        """Yield every task once, as it finishes; closing the iterator stops what is running.

        ``limit`` says how many seconds a task may take, where it can be ended.
        """
        ...


def describe(error: BaseException) -> str:
    """An error as one line for a table."""
    return str(error) if isinstance(error, ComponentError) else told(error)


Function = Callable[[Any], Any]
