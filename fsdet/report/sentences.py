"""Sentences of a report: the headline, the ranking of methods, and notes about shots and seeds."""

from collections.abc import Sequence

from fsdet.report.rows import (
    BASELINE,
    MEAN,
    Row,
    display_name,
    main_method,
    reported_protocols,
    shot_counts,
)
from fsdet.report.statistics import (
    Interval,
    base_before_registration,
    by_shots,
    headline_shots,
    paired_differences,
    summary,
)


def headline(rows: Sequence[Row], baseline: str = BASELINE) -> list[str]:
    """The main method's nAP50 and its difference to the baseline, per protocol, and the bAP50.

    Returns:
        A sentence for each protocol that was measured, and one for the base categories.
    """
    method, summaries, sentences = main_method(rows, baseline), summary(rows), []
    differences = paired_differences(rows, baseline)
    for protocol, description in reported_protocols(rows).items():
        shots = headline_shots(rows, method, protocol)
        if method is None or shots is None:
            continue
        groups = by_shots(summaries, method, protocol)
        over = by_shots(differences, method, protocol)
        metrics = groups[shots].metrics
        sentence = (
            f"With {description}, {display_name(method)} reaches an nAP50 of"
            f" {metrics['nAP50'].show()} at {shots_label(shots)}"
        )
        if shots in over:
            sentence += f", {_comparison(over[shots].interval, display_name(baseline))}"
        counts = [str(count) for count in shot_counts(groups) if count]
        if len(counts) > 1 and MEAN in over:
            name = "it" if shots in over else display_name(baseline)
            listed = f"{', '.join(counts[:-1])} and {counts[-1]} shots"
            sentence += f"; on the mean over {listed} {_comparison(over[MEAN].interval, name)}"
        sentences.append(sentence + ".")
        if protocol == "all" and metrics["bAP50"].is_measured:
            before = base_before_registration(rows)[1]
            start = f"{before.show()} before registering and " if before.is_measured else ""
            after = metrics["bAP50"].show()
            sentences.append(f"Base categories have a bAP50 of {start}{after} after.")
    return sentences


def shots_label(shots: int) -> str:
    """`1 shot`, `5 shots`."""
    return f"{shots} shot{'s' * (shots != 1)}"


def interval_note(rows: Sequence[Row]) -> str:
    """The numbers of seeds and splits of means and intervals."""
    seeds = len({row["seed"] for row in rows if row["shots"]})
    splits = len({(row["data"], row["split"]) for row in rows})
    if seeds * splits <= 1:
        return f"{seeds} seed, no interval."
    per_split = f" of each of {splits} splits" if splits > 1 else ""
    return f"Mean ± 95% interval over {seeds} seed{'s' * (seeds != 1)}{per_split}."


def _comparison(difference: Interval, name: str) -> str:
    if difference.verdict() == "tie":
        return f"no different from {name} ({difference.show(sign='+')}, a tie)"
    size = difference._replace(mean=abs(difference.mean)).show()
    return f"{size} {'above' if difference.mean > 0 else 'below'} {name}"


def ranking(rows: Sequence[Row]) -> list[str]:
    """The best method for every shot count and for the mean over them, and the methods tied with it.

    A method is tied with the best if the interval of the paired difference contains zero, or if there
    is one seed only. The intervals are widened for the number of comparisons (Bonferroni: 95%
    confidence for all of them together). Among the tied, the sentence names the fastest to adapt.
    """
    summaries = [g for g in summary(rows) if g.protocol == "all" and g.shots != 0]
    sentences = []
    for shots in dict.fromkeys(group.shots for group in summaries):
        metrics = {
            group.method: group.metrics
            for group in summaries
            if group.shots == shots and group.metrics["nAP50"].is_measured
        }
        if not metrics:
            continue
        nap50 = {method: values["nAP50"] for method, values in metrics.items()}
        best = max(nap50, key=lambda method: nap50[method].mean)
        confidence = 1 - 0.05 / max(len(metrics) - 1, 1)
        tied = [
            difference.method
            for difference in paired_differences(rows, best, confidence=confidence)
            if (difference.protocol, difference.shots) == ("all", shots)
            and difference.interval.verdict() in ("tie", "")
        ]
        when = "On the mean over shots" if shots == MEAN else f"At {shots_label(shots)}"
        sentence = f"{when} {display_name(best)} is best (nAP50 {nap50[best].show()})"
        if tied:
            seconds = {method: metrics[method]["adapt_seconds"].mean for method in [best, *tied]}
            fastest = display_name(min(seconds, key=lambda method: seconds[method]))
            tied.sort(key=lambda method: -nap50[method].mean)
            names = ", ".join(map(display_name, tied))
            sentence += f"; a tie with it: {names}; of these {fastest} adapts fastest"
        sentences.append(sentence + ".")
    return sentences
