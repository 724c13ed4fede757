"""Means over seeds with 95% intervals, by Student's t: right for the five or ten seeds there are.

Values that are NaN were not measured (a category without truth, a seed that was not run): they are
left out and the interval is of those that remain. One value has a mean and no interval (NaN), no
value has neither.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import (
    stdtrit,
)  # scipy.stats.t.ppf, without the 0.5 s that scipy.stats imports for

from fsdet.errors import InputError


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95% interval (`mean ± half`, two-sided, n - 1 degrees)."""
    measured = np.asarray(values, dtype=np.float64).ravel()
    measured = measured[~np.isnan(measured)]
    n = len(measured)
    if n == 0:
        return float("nan"), float("nan")
    if n == 1:
        return float(measured[0]), float("nan")
    half = stdtrit(n - 1, 0.975) * measured.std(ddof=1) / np.sqrt(n)
    return float(measured.mean()), float(half)


def paired(values_a: Sequence[float], values_b: Sequence[float]) -> tuple[float, float]:
    """Mean of `a - b` over the same seeds and half width of its 95% interval.

    Value i of both must come from the same seed (the same shots): what the seeds share cancels.
    A pair of which one is NaN is left out. Lengths that differ are an `InputError`.
    """
    a = np.asarray(values_a, dtype=np.float64).ravel()
    b = np.asarray(values_b, dtype=np.float64).ravel()
    if len(a) != len(b):
        raise InputError(
            f"paired values come from the same seeds: got {len(a)} and {len(b)} values"
        )
    return mean_interval(a - b)
