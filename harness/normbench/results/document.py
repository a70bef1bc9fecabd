"""The tables' documentation, written from the schema itself.

``python -m normbench.results.document`` prints what ``results/README.md`` holds.
"""

from __future__ import annotations

from normbench.results.schema import SCHEMA_VERSION, TABLES, Field
from normbench.results.timings import TIMINGS

_HEAD = """# Results

Each folder here holds the results of one protocol, made by `normbench run` and read by
`normbench.load("results/NAME")`, by `pandas.read_parquet` or by anything else that reads parquet.

| file | content |
|---|---|
| `runs.parquet` | a row for **every planned run**, whatever became of it |
| `epochs.parquet` | a row per run and evaluation |
| `predictions.parquet` | a row per run and kind of evaluation: one bit per test item |
| `probes.parquet` | a row per run, evaluation, quantity and layer, where probes were asked for |
| `timings.parquet` | a row per timed cell and repetition, made by `normbench time` |
| `protocol.json` | the resolved protocol: every default explicit |
| `protocol.toml` | the protocol file as its author wrote it |
| `provenance.json` | every invocation: command, versions, machine, commit, overrides |
| `execution.json` | how runs were executed, by `execution_hash` |
| `registration.json` | what was declared before the first run, and what changed since |
| `decisions.json` | tuned learning rates, and pooled thresholds once they are frozen |
| `looks.json` | when results were looked at, and how many runs had finished then |
| `parts/` | groups of runs that a sweep has finished and not merged yet |

`run_hash` joins the tables, and `cell_hash` joins the timings to `runs`. A run that two experiments
plan is trained once and stands in `runs` twice. In numeric columns a null means that the column
does not apply (for example `val_batch_loss` of layer norm, which does not depend on the batch; the
plain column holds then), and NaN that there was no finite number. pandas shows both as NaN.

JSON files carry a `checksum` of their content, and tables a digest of all their bytes, before their
footer, where other programs do not look: both are checked by whoever reads them with normbench.
Files that another program has written, or an older version, have none and are read.

Epoch 0 is the evaluation before training. Wall-clock columns depend on the machine's other work;
all others are the same on every repetition on one machine with the same versions.

```python
import normbench
results = normbench.load("results/quick")
results.runs.groupby(["norm", "batch_size"]).status.value_counts()
results.curves()          # epochs with experiment, model, norm, batch size, seed and status
```
"""


def _rows(columns: tuple[Field, ...]) -> str:
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.type} | {c.unit or '–'} | {c.doc} |" for c in columns]
    return "\n".join(lines)


def documentation() -> str:
    """``results/README.md`` as text."""
    parts = [_HEAD]
    tables = {**TABLES, "timings": TIMINGS}
    parts += [f"## {name}\n\n{_rows(columns)}\n" for name, columns in tables.items()]
    parts.append(f"Schema version {SCHEMA_VERSION}; it is in every file's metadata.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(documentation(), end="")
