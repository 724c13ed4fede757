"""Means over seeds with 95% confidence intervals by Student's t, for as few as five or ten seeds.

NaN (a category without ground truth, a seed that was not run) is left out, and the interval is of the
remaining values. One value has a mean and no interval (NaN); without values both are NaN.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # as scipy.stats.t.ppf, but scipy.stats takes 0.5 s to import


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95% interval (two-sided, n - 1 degrees of freedom)."""
    return stratified([values])


def stratified(
    groups: Sequence[Sequence[float] | np.ndarray], confidence: float = 0.95
) -> tuple[float, float]:
    """Mean over groups (splits) of their means over values (seeds), and half width of its interval.

    Values are random within a group; the groups are fixed. With v_g = s_g^2 / n_g the half width is
    t sqrt(sum_g v_g) / G, with (sum_g v_g)^2 / sum_g (v_g^2 / (n_g - 1)) degrees of freedom (Welch and
    Satterthwaite). The half width is NaN if a group has a single value.
    """
    measured = [np.asarray(values, dtype=np.float64).ravel() for values in groups]
    measured = [values[~np.isnan(values)] for values in measured]
    measured = [values for values in measured if len(values)]
    if not measured:
        return float("nan"), float("nan")
    mean = float(np.mean([values.mean() for values in measured]))
    if min(map(len, measured)) == 1:
        return mean, float("nan")
    variances = np.array([values.var(ddof=1) / len(values) for values in measured])  # of the means
    total = variances.sum()
    if not total:
        return mean, 0.0
    terms = zip(variances, measured, strict=True)
    degrees = total**2 / sum(v**2 / (len(values) - 1) for v, values in terms)
    quantile = stdtrit(degrees, (1 + confidence) / 2)
    return mean, float(quantile * np.sqrt(total) / len(variances))
