"""The numbers of a report in words."""

from collections.abc import Sequence

from fsdet.report.compare import (
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
