"""The functions that measure, as a worker is given them; see :mod:`normbench.training.work`."""

from __future__ import annotations

from normbench.calibration.tasks import Calibrated, Calibration


def calibrate(task: Calibration) -> Calibrated:
    """See :func:`normbench.calibration.calibrate.calibrate`."""
    from normbench.calibration import calibrate as module

    return module.calibrate(task)
