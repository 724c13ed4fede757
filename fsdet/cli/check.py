"""Find the faults of a data set, and unusual values; every image is decoded. --all lists each of them.

Exit status: 0 without faults, 1 with faults, 2 without a data set. Warnings do not count.
"""

import json
import logging
import sys
from argparse import Namespace
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fsdet.cli.program import Parser
from fsdet.errors import printable

if TYPE_CHECKING:
    from fsdet.data.check import Report
    from fsdet.data.formats.validation import DataIssue

USAGE = "ROOT [SUBSET ...] [options]"


def add_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("root", metavar="ROOT", type=Path, help="folder of a data set")
    add("subset", metavar="SUBSET", nargs="*", help="such as train, or a COCO JSON; default: all")
    add("--all", action="store_true", help="every fault, not three of a kind")
    add("--json", action="store_true", help="everything, for programs")


def run(arguments: Namespace) -> int:
    from fsdet.data.check import check
    from fsdet.data.open import subsets

    logging.getLogger("fsdet").setLevel(logging.ERROR)  # the report repeats these warnings
    # Without any subset, the error for "train" lists the files that were looked for.
    names = arguments.subset or subsets(arguments.root) or ["train"]
    reports = [check(arguments.root, name) for name in names]
    if arguments.json:
        print(json.dumps([as_json(report) for report in reports], indent=1))
    else:
        for report in reports:
            show(report, sys.maxsize if arguments.all else 3)
    return int(any(report.faults for report in reports))


def as_json(report: "Report") -> dict:
    """The report with faults and warnings as objects, and the number of each rule."""
    faults = [fault._asdict() for fault in report.faults]
    warnings = [warning._asdict() for warning in report.warnings]
    rules = {"counts": report.counts(), "faults": faults, "warnings": warnings}
    return asdict(report) | rules | {"root": str(report.root)}


def show(report: "Report", limit: int) -> None:
    """Print the numbers of a subset, then its faults and warnings by rule, the first `limit` of each."""
    print(f"{report.root}, '{report.subset}' ({report.format})")
    counts = sorted(report.per_category.items(), key=lambda item: item[1])
    print(
        f"  {report.images} images, {report.boxes} boxes ({report.ignored} to be ignored), "
        f"{len(counts)} categories"
    )
    if counts:
        (rarest, fewest), (commonest, most) = counts[0], counts[-1]
        print(f"  boxes per category: {fewest} ({rarest}) to {most} ({commonest})")
    show_rules("fault", report.faults, limit)
    show_rules("warning", report.warnings, limit if limit > 3 else 1)


def show_rules(kind: str, issues: "list[DataIssue]", limit: int) -> None:
    """Print issues grouped by rule, the most frequent rule first."""
    by_rule: dict[str, list[DataIssue]] = defaultdict(list)
    for issue in issues:
        by_rule[issue.rule].append(issue)
    print(f"  {len(issues) or 'no'} {kind}{'s' * (len(issues) != 1)}")
    for rule, group in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        print(f"    {len(group)} x {rule}")
        for issue in group[:limit]:
            print("      " + printable(f"{issue.where}: {issue.detail}"))
        if len(group) > limit:
            print(f"      ... and {len(group) - limit} more (--all)")
