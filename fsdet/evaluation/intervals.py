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


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95% interval (`mean ± half`, two-sided, n - 1 degrees)."""
    return stratified([values])


def stratified(
    groups: Sequence[Sequence[float] | np.ndarray], confidence: float = 0.95
) -> tuple[float, float]:
    """Mean over groups (splits) of their means, and half width of its interval over their values (seeds).

    Values vary within a group, the groups are what they are: with v_g = s_g^2 / n_g the half width is
    t sqrt(sum_g v_g) / G, of (sum_g v_g)^2 / sum_g (v_g^2 / (n_g - 1)) degrees (Welch and Satterthwaite).
    NaN where a group has one value.
    """
    measured = [np.asarray(values, dtype=np.float64).ravel() for values in groups]
    measured = [values[~np.isnan(values)] for values in measured]
    measured = [values for values in measured if len(values)]
    if not measured:
        return float("nan"), float("nan")
    mean = float(np.mean([values.mean() for values in measured]))
    if min(map(len, measured)) == 1:
        return mean, float("nan")
    of = np.array([values.var(ddof=1) / len(values) for values in measured])
    if not of.any():
        return mean, 0.0
    degrees = of.sum() ** 2 / sum(v**2 / (len(x) - 1) for v, x in zip(of, measured, strict=True))
    quantile = stdtrit(degrees, (1 + confidence) / 2)
    return mean, float(quantile * np.sqrt(of.sum()) / len(of))
