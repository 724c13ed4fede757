"""List all that is wrong with a data set, and what is odd: every image is decoded.

Exit status: 0 without faults, 1 with, 2 if there is nothing to check. Warnings do not count.
"""

import argparse
import json
import logging
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from fsdet.cli import program
from fsdet.data.check import Report, check, subsets
from fsdet.data.formats.validation import DataIssue


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of a COCO, VOC or YOLO data set")
    parser.add_argument("subset", nargs="*", help="as train, or a COCO JSON; by default all")
    parser.add_argument("--all", action="store_true", help="every fault, not three of a kind")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    words = parser.parse_args()
    logging.getLogger("fsdet").setLevel(logging.ERROR)  # what it would warn of is in the report
    # Without any subset, asking for one says what was looked for.
    reports = [check(words.root, name) for name in words.subset or subsets(words.root) or ["train"]]
    if words.json:
        print(json.dumps([as_json(report) for report in reports], indent=1))
    else:
        for report in reports:
            show(report, most=sys.maxsize if words.all else 3)
    return int(any(report.faults for report in reports))


def as_json(report: Report) -> dict:
    """The report with faults as objects and counts."""
    faults = [fault._asdict() for fault in report.faults]
    warnings = [warning._asdict() for warning in report.warnings]
    said = {"counts": report.counts(), "faults": faults, "warnings": warnings}
    return asdict(report) | said | {"root": str(report.root)}


def show(report: Report, most: int) -> None:
    """Numbers, then faults and warnings by rule, the first `most` of each."""
    print(f"{report.root}, '{report.subset}' ({report.format})")
    counts = sorted(report.per_category.items(), key=lambda item: item[1])
    print(
        f"  {report.images} images, {report.boxes} boxes ({report.ignored} to be ignored), "
        f"{len(counts)} categories"
    )
    if counts:
        (rare, fewest), (common, highest) = counts[0], counts[-1]
        print(f"  boxes of a category: {fewest} ({rare}) to {highest} ({common})")
    show_rules("fault", report.faults, most)
    show_rules("warning", report.warnings, most if most > 3 else 1)


def show_rules(kind: str, found: list[DataIssue], most: int) -> None:
    rules: dict[str, list[DataIssue]] = defaultdict(list)
    for fault in found:
        rules[fault.rule].append(fault)
    print(f"  {len(found) or 'no'} {kind}{'s' * (len(found) != 1)}")
    for rule, faults in sorted(rules.items(), key=lambda item: -len(item[1])):
        print(f"    {len(faults)} x {rule}")
        for fault in faults[:most]:
            print(f"      {fault.where}: {fault.detail}")
        if len(faults) > most:
            print(f"      ... and {len(faults) - most} more (--all)")


if __name__ == "__main__":
    program.main(main)
