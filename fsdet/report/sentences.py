"""The numbers of a report in words."""

from collections.abc import Sequence

from fsdet.report.statistics import (
    BASELINE,
    MEAN,
    Interval,
    Row,
    before,
    differences,
    headline_shots,
    known_as,
    spaces,
    subject,
    summary,
)


def headline(rows: Sequence[Row], baseline: str = BASELINE) -> list[str]:
    """What the report's method reaches, how far from the baseline; what base categories lose.

    Returns:
        A sentence for each protocol, and one for the base categories; of what was measured.
    """
    method, groups, said = subject(rows, baseline), summary(rows), []
    for protocol, meaning in spaces(rows).items():
        shots = headline_shots(rows, method, protocol)
        if method is None or shots is None:
            continue
        mine = {g["shots"]: g for g in groups if (g["method"], g["protocol"]) == (method, protocol)}
        over = {
            d["shots"]: d["difference"]
            for d in differences(rows, baseline)
            if (d["method"], d["protocol"]) == (method, protocol)
        }
        reached = f"{known_as(method)} reaches an nAP50 of {mine[shots]['nAP50'].show()}"
        words = f"With {meaning}, {reached} at {counted(shots)}"
        if shots in over:
            words += f", {_beside(over[shots], known_as(baseline))}"
        name = "it" if shots in over else known_as(baseline)
        counts = [str(count) for count in mine if count not in (0, MEAN)]
        if len(counts) > 1 and MEAN in over:
            listed = f"{', '.join(counts[:-1])} and {counts[-1]} shots"
            words += f"; on the mean over {listed} {_beside(over[MEAN], name)}"
        said.append(words + ".")
        if protocol == "all" and mine[shots]["bAP50"].mean >= 0:
            first = before(rows)[1].show()
            known = "" if first == "–" else f"{first} before registering and "
            after = mine[shots]["bAP50"].show()
            said.append(f"Base categories have a bAP50 of {known}{after} after.")
    return said


def counted(shots: int) -> str:
    """`1 shot`, `5 shots`."""
    return f"{shots} shot{'s' * (shots != 1)}"


def footing(rows: Sequence[Row]) -> str:
    """What means and intervals are over."""
    seeds = len({row["seed"] for row in rows if row["shots"]})
    splits = len({(row["data"], row["split"]) for row in rows})
    of = f" of each of {splits} splits" if splits > 1 else ""
    interval = "Mean ± 95% interval over" if seeds * splits > 1 else "Of"
    return f"{interval} {seeds} seed{'s' * (seeds != 1)}{of}."


def _beside(difference: Interval, name: str) -> str:
    if difference.verdict() == "tie":
        return f"no different from {name} ({difference.show(sign='+')}, a tie)"
    size = difference._replace(mean=abs(difference.mean)).show()
    return f"{size} {'above' if difference.mean > 0 else 'below'} {name}"


def ranking(rows: Sequence[Row]) -> list[str]:
    """For every shot count and the mean over them: the best method, and what is no different from it.

    A method ties with the best where the interval of the paired difference holds zero, which is widened for as
    many comparisons as there are (Bonferroni: 95% of all of them together), or where one seed says nothing of it.
    Of those that tie, the one is named that adapts fastest.
    """
    groups = [g for g in summary(rows) if g["protocol"] == "all" and g["shots"] != 0]
    said = []
    for shots in dict.fromkeys(group["shots"] for group in groups):
        mine = {g["method"]: g for g in groups if g["shots"] == shots and g["nAP50"].mean >= 0}
        if not mine:
            continue
        first = max(mine, key=lambda method: mine[method]["nAP50"].mean)
        together = 1 - 0.05 / max(len(mine) - 1, 1)
        even = [
            found["method"]
            for found in differences(rows, first, confidence=together)
            if (found["protocol"], found["shots"]) == ("all", shots)
            and found["verdict"] in ("tie", "")
        ]
        when = "On the mean over shots" if shots == MEAN else f"At {counted(shots)}"
        words = f"{when} {known_as(first)} is best (nAP50 {mine[first]['nAP50'].show()})"
        if even:
            ties = ", ".join(
                known_as(m) for m in sorted(even, key=lambda m: -mine[m]["nAP50"].mean)
            )
            quick = min([first, *even], key=lambda method: mine[method]["adapt_seconds"].mean)
            words += f"; a tie with it: {ties}; of these {known_as(quick)} adapts fastest"
        said.append(words + ".")
    return said
