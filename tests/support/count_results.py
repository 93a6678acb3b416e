#!/usr/bin/env python3
"""Prints `N passed, N failed, N skipped` for one run of `meson test`.

    count_results.py BUILD_FOLDER/meson-logs/testlog.json

A program that ran doctest cases counts with them, as doctest's own summary line gives them. Every other Meson test
(compile, headers, build, examples, and a doctest program that skipped itself or died before its summary) counts as
one, by Meson's result. A program whose cases all passed and that Meson still calls failed adds one failure.
"""

import json
import re
import sys
from pathlib import Path

CASES = re.compile(r"^\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped", re.MULTILINE)
PASSED = ("OK", "EXPECTEDFAIL")


def count(test):
    good, skipped = test["result"] in PASSED, test["result"] == "SKIP"
    summaries = CASES.findall(test.get("stdout", ""))
    passed, failed, unrun = (sum(map(int, column)) for column in zip(("0", "0", "0"), *summaries))
    if passed + failed == 0:
        return int(good), int(not good and not skipped), int(skipped)
    return passed, max(failed, int(not good)), unrun


def main():
    log = Path(sys.argv[1])
    tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed, failed, skipped = (sum(column) for column in zip((0, 0, 0), *map(count, tests)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
