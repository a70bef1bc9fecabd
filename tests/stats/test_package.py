import subprocess
import sys

import normbench.stats as stats


def test_exports_exist_and_are_sorted():
    assert all(hasattr(stats, name) for name in stats.__all__)
    assert stats.__all__ == sorted(stats.__all__)


def test_import_takes_arrays_alone():
    code = (
        "import sys, normbench.stats; "
        "heavy = {'scipy', 'pandas', 'pyarrow', 'matplotlib', 'torch', 'pydantic'}; "
        "own = {m for m in sys.modules if m.startswith('normbench.')}; "
        "other = {m for m in own if not m.startswith(('normbench.stats', 'normbench.errors'))}; "
        "print(sorted(heavy & set(sys.modules)), sorted(other))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] []"
