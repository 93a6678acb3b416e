#!/usr/bin/env python3
"""Tests benchmarks/compare.py on fake programs that write rows of given figures.

    test_compare.py PATH_OF_COMPARE
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

# Writes run number n's figures: rows of a baseline and of masthead, whose times are factors of the baseline's.
FAKE = """#!{python}
import json, pathlib, sys
figures = {figures!r}
count = pathlib.Path(__file__ + ".count")
run = int(count.read_text()) if count.exists() else 0
count.write_text(str(run + 1))
with open({log!r}, "a") as log:
    log.write({name!r} + "\\n")
if {status}:
    sys.exit({status})
rows = []
for case, (baseline, ratios) in figures.items():
    where = dict(problem=case, precision="bf16", mode="eval", timing="back_to_back")
    clock = 1 + 0.03 * (run % 2)
    us = clock * baseline
    rows.append(dict(where, system="cublaslt_gemm", us_median=us, us_min=us, us_max=us, ratio=1.0))
    ratio = ratios[run % len(ratios)]
    rows.append(dict(where, system="masthead", us_median=us * ratio, us_min=us, us_max=us, ratio=ratio))
out = pathlib.Path(sys.argv[sys.argv.index("--json") + 1])
out.write_text(json.dumps(dict(header=dict(commit={name!r}), rows=rows)))
"""


class Comparison:
    """Two fake programs and what compare.py makes of them."""

    def __init__(self, compare, old, new, *options, status=0):
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            log = folder / "log"
            for name, figures in (("old", old), ("new", new)):
                program = folder / name
                program.write_text(FAKE.format(python=sys.executable, figures=figures, log=str(log), name=name,
                                               status=status if name == "new" else 0))
                program.chmod(0o755)
            out = folder / "out.json"
            finished = subprocess.run([sys.executable, compare, folder / "old", folder / "new", "--json", out, *options,
                                       "--", "--suite", "hopper"], capture_output=True, text=True)
            self.status, self.text = finished.returncode, finished.stdout + finished.stderr
            self.order = log.read_text().split() if log.exists() else []
            self.document = json.loads(out.read_text()) if out.exists() else None

    def row(self, problem, system="masthead"):
        found = [row for row in self.document["rows"] if (row["problem"], row["system"]) == (problem, system)]
        assert len(found) == 1, self.text
        return found[0]


def expect(condition, comparison, what):
    if not condition:
        sys.exit(f"{what}\n{comparison.text}")


def test_verdicts(compare):
    old = {"1x1x1": (100, [1.00, 1.02, 1.01]), "2x2x2": (50, [1.0, 1.001, 1.0]), "3x3x3": (20, [1.0, 1.0, 1.0])}
    new = {"1x1x1": (100, [1.01, 1.02, 1.00]), "2x2x2": (50, [0.9, 0.901, 0.9]), "3x3x3": (20, [1.005, 1.005, 1.005])}
    c = Comparison(compare, old, new)
    expect(c.status == 0, c, "nothing is slower beyond 1 %")
    expect(c.order == ["old", "new"] * 3, c, "the programs take turns")
    expect(c.row("1x1x1")["verdict"] == "within", c, "inside the spread of old")
    expect(abs(c.row("1x1x1")["spread"] - 1.02) < 1e-9, c, "the spread is largest over smallest")
    expect(c.row("2x2x2")["verdict"] == "faster", c, "10 % faster")
    expect(abs(c.row("2x2x2")["ratio"] - 0.9) < 1e-9, c, "the median of the ratios")
    expect(c.row("3x3x3")["verdict"] == "slower", c, "slower than the spread, but within the tolerance")
    expect(c.row("3x3x3", "cublaslt_gemm")["baseline"], c, "the baseline is known as such")
    expect(c.document["arguments"] == ["--suite", "hopper"], c, "the arguments are kept")
    expect(c.document["headers"]["new"]["commit"] == "new", c, "the headers are kept")
    c = Comparison(compare, old, new, "--tolerance", "0.1")
    expect(c.status == 1 and c.row("3x3x3")["fails"], c, "0.5 % slower is beyond 0.1 %")


def test_slower(compare):
    old = {"1x1x1": (100, [1.0, 1.01, 1.0])}
    c = Comparison(compare, old, {"1x1x1": (100, [1.05, 1.06, 1.05])})
    expect(c.status == 1, c, "5 % slower must fail")
    expect(c.row("1x1x1")["verdict"] == "slower" and c.row("1x1x1")["fails"], c, "5 % slower is slower")
    expect("slower FAILS" in c.text, c, "the table says so")
    c = Comparison(compare, old, old)
    expect(c.status == 0 and c.row("1x1x1")["verdict"] == "within", c, "a program is as fast as itself")
    # A baseline that is slower too takes the head's ratio with it: the clocks differ, not the head.
    c = Comparison(compare, old, {"1x1x1": (120, [1.0, 1.01, 1.0])})
    expect(c.status == 0 and c.row("1x1x1")["verdict"] == "within", c, "the verdict is about the ratio")
    expect(c.row("1x1x1", "cublaslt_gemm")["verdict"] == "slower", c, "the baseline's own verdict shows it")
    expect(abs(c.row("1x1x1")["us"] - 1.2) < 1e-9, c, "the ratio of microseconds is printed beside it")


def test_errors(compare):
    old = {"1x1x1": (100, [1.0])}
    for what, c in (("a program that fails", Comparison(compare, old, old, status=3)),
                    ("rows that only one has", Comparison(compare, old, {"2x2x2": (100, [1.0])})),
                    ("one round", Comparison(compare, old, old, "--rounds", "1"))):
        expect(c.status not in (0, None) and c.document is None, c, what + " must be an error")
    c = Comparison(compare, old, old, "--rounds", "2")
    expect(c.status == 0 and c.order == ["old", "new"] * 2, c, "--rounds counts")


def main():
    compare = sys.argv[1]
    for test in (test_verdicts, test_slower, test_errors):
        test(compare)
        print(test.__name__, "passed")


if __name__ == "__main__":
    main()
