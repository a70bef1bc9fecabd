"""Tasks one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from normbench.executors.base import Done, Task, Value, describe


class InlineExecutor:
    """Runs tasks here: for debugging, for tests and where one process must suffice."""

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open."""

    def map(
        self,
        function: Callable[[Task], Value],
        tasks: Sequence[Task],
        limit: Callable[[Task], float | None] | None = None,
    ) -> Iterator[Done[Task, Value]]:
        """Yield every task as it finishes, in order; nothing here can be ended by a ``limit``."""
        del limit
        for task in tasks:
            try:
                value = function(task)
            except (Exception, SystemExit) as error:  # one task's failure never ends the others
                yield Done(task, None, describe(error))
            else:
                yield Done(task, value)
