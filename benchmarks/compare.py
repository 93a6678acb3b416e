#!/usr/bin/env python3
"""Says whether one build of a benchmark program is slower than another.

    python3 benchmarks/compare.py old/benchmarks/head new/benchmarks/head -- --suite hopper
    python3 benchmarks/compare.py OLD NEW --rounds 5 --tolerance 0.5 --json compare.json -- --problem 1024x8192x8192

Runs OLD and NEW in turn, OLD NEW OLD NEW ..., with the same arguments and `--json FILE` behind them, and pairs their
rows by problem, precision, mode, timing and system. For every row, over the rounds:
- `us`: the median of NEW's microseconds over OLD's in the same round.
- `ratio`: the same of the rows' own `ratio`, which a program takes over the baseline it timed in the same run, so that
  clocks that differ between runs fall out; the baseline itself has none.
- `spread`: OLD's largest figure over its smallest, of whichever of the two the verdict is about: how much a build
  differs from itself.
- `verdict`, about `ratio`, or about `us` where there is no baseline: `within` when the median is inside OLD's spread,
  else `faster` or `slower`.

A baseline is the system whose ratio is 1 in every round of both. Baselines get a verdict like other rows, which tells
whether the runs can be compared at all, but do not count where their case has other systems. Exit status 1 when a row
is slower, beyond the spread and beyond the tolerance; also when a program fails or the two have not the same rows:
then there are no verdicts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

KEYS = ("problem", "precision", "mode", "timing", "system")
SIDES = ("old", "new")


def run(program, arguments):
    """The rows that one run of a program writes, by key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [program, *arguments, "--json", str(path)]
        finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if finished.returncode != 0:
            sys.exit(f"{finished.stdout}{program}: exit status {finished.returncode}")
        if not path.exists():
            sys.exit(f"{program}: wrote no {path.name} though it was given --json")
        document = json.loads(path.read_text())
    rows = {tuple(row[key] for key in KEYS): row for row in document["rows"]}
    if not rows or len(rows) != len(document["rows"]):
        sys.exit(f"{program}: no rows, or two of one case, timing and system")
    return document.get("header", {}), rows


def check_same(expected, rows, program):
    for key in expected.keys() ^ rows.keys():
        sys.exit(f"{program}: {' '.join(key)}: only one of two runs has this row")


def judge(median, spread, tolerance):
    """`within` when the median is inside the spread; `fails` when it is slower beyond the tolerance too."""
    if 1 / spread <= median <= spread:
        return "within", False
    return ("slower", median > 1 + tolerance) if median > 1 else ("faster", False)


def compare_row(key, runs, tolerance):
    """runs: side -> the row of each round."""
    ratios, spreads = {}, {}
    for figure in ("us_median", "ratio"):
        values = {side: [row.get(figure, 1) for row in runs[side]] for side in SIDES}
        if min(values["old"] + values["new"]) <= 0:
            sys.exit(f"{' '.join(key)}: {figure} is not positive")
        ratios[figure] = statistics.median(new / old for old, new in zip(values["old"], values["new"]))
        spreads[figure] = max(values["old"]) / min(values["old"])
    is_baseline = all(row.get("ratio", 1) == 1 for side in SIDES for row in runs[side])
    about = "us_median" if is_baseline else "ratio"
    verdict, fails = judge(ratios[about], spreads[about], tolerance)
    result = dict(zip(KEYS, key))
    result.update(old_us=statistics.median(row["us_median"] for row in runs["old"]),
                  new_us=statistics.median(row["us_median"] for row in runs["new"]), us=ratios["us_median"],
                  ratio=None if is_baseline else ratios["ratio"], spread=spreads[about], verdict=verdict,
                  baseline=is_baseline, fails=fails)
    return result


def count_in(results):
    """A baseline does not count, unless there are no other rows in its case: then it is what was asked about."""
    def of(result):
        return tuple(result[key] for key in KEYS[:-1])

    with_baseline = {of(result) for result in results if not result["baseline"]}
    for result in results:
        result["fails"] = result["fails"] and not (result["baseline"] and of(result) in with_baseline)


def print_table(results):
    cells = [(*KEYS, "old us", "new us", "us", "ratio", "spread", "verdict")]
    for result in results:
        cells.append((*(result[key] for key in KEYS), f"{result['old_us']:.2f}", f"{result['new_us']:.2f}",
                      f"{result['us']:.4f}", "" if result["ratio"] is None else f"{result['ratio']:.4f}",
                      f"{result['spread']:.4f}", result["verdict"] + (" (baseline)" if result["baseline"] else "") +
                      (" FAILS" if result["fails"] else "")))
    widths = [max(map(len, column)) for column in zip(*cells)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def arguments():
    command, behind = sys.argv[1:], []
    if "--" in command:
        at = command.index("--")
        command, behind = command[:at], command[at + 1:]
    parser = argparse.ArgumentParser(description="Compares two builds of a benchmark program",
                                     usage="%(prog)s OLD NEW [options] -- ARGUMENTS_OF_THE_PROGRAM...")
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, default 3")
    parser.add_argument("--tolerance", type=float, default=1, help="per cent that a row may be slower, default 1")
    parser.add_argument("--json", metavar="OUT", help="write the results to this file")
    options = parser.parse_args(command)
    if options.rounds < 2:
        parser.error("--rounds must be at least 2: one run has no spread")
    if options.tolerance < 0:
        parser.error("--tolerance must be at least 0")
    if any(argument == "--json" or argument.startswith("--json=") for argument in behind):
        parser.error("--json is given to the programs by this one")
    return options, behind


def main():
    options, behind = arguments()
    programs = {"old": options.old, "new": options.new}
    runs, headers, first = {side: [] for side in SIDES}, {}, None
    for number in range(options.rounds):
        for side in SIDES:
            print(f"round {number + 1} of {options.rounds}: {side}", flush=True)
            headers[side], rows = run(programs[side], behind)
            first = first or rows
            check_same(first, rows, programs[side])
            runs[side].append(rows)

    results = [compare_row(key, {side: [rows[key] for rows in runs[side]] for side in SIDES}, options.tolerance / 100)
               for key in first]
    count_in(results)
    print_table(results)
    failing = sum(result["fails"] for result in results)
    print(f"{len(results)} rows, {failing} slower beyond the spread and {options.tolerance:g} %")
    if options.json:
        document = {"rounds": options.rounds, "tolerance": options.tolerance, "arguments": behind, "headers": headers,
                    "rows": results}
        Path(options.json).write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(failing > 0)


if __name__ == "__main__":
    main()
