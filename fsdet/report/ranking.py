"""Which method for whom: the rows of a benchmark in words."""

from collections.abc import Sequence

from fsdet.report.compare import MEAN, Row, differences, known_as, summary
from fsdet.report.words import counted


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
