#!/usr/bin/env python3
"""What ptxas says of the library's kernels.

    ptxas_report.py compile LOG COMMAND...   runs nvcc (with -Xptxas=-v) and keeps what it prints in LOG
    ptxas_report.py check LOG                prints a table of kernels; fails on spills, stack frames and C75xx

C75xx are ptxas' notes that it serialized wgmma instructions.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ENTRY = re.compile(r"Compiling entry function '([^']+)' for '([^']+)'")
PROPERTIES = re.compile(r"Function properties for (\S+)")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USAGE = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
SERIALIzED = re.compile(r"\bC75\d\d\b")


def compile_to_log(log, command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        print(done.stdout)
        sys.exit(done.returncode)
    Path(log).write_text(done.stdout)


def parse(text):
    """One row a function, device functions that were not inlined included; registers are known for kernels."""
    rows, kernel, row = [], None, None
    for line in text.splitlines():
        if match := ENTRY.search(line):
            kernel = match[1]
        elif match := PROPERTIES.search(line):
            row = {"name": match[1], "registers": "", "smem": "", "frame": None}
            rows.append(row)
        elif match := FRAME.search(line):
            row["frame"] = [int(size) for size in match.groups()]
        elif match := USAGE.search(line):
            shared = SHARED.search(line)
            owner = next(r for r in reversed(rows) if r["name"] == kernel)
            owner.update(registers=match[1], smem=shared[1] if shared else "0")
    return rows


def demangle(names):
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if not tool or not names:
        return names
    done = subprocess.run([tool], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True)
    return [short(name) for name in done.stdout.splitlines()]


def short(signature):
    """The template's name and arguments: no namespace, no casts of enumerators, no return type, no parameters."""
    signature = re.sub(r"\bmasthead::(v0::)?", "", signature)
    signature = re.sub(r"\(\w+( \w+)*\)(?=-?\d)", "", signature)
    return re.sub(r"^void |\(.*\)$", "", signature)


def check(log):
    text = Path(log).read_text()
    rows = parse(text)
    if not any(row["registers"] for row in rows):
        sys.exit(f"{log}: no kernel found")
    print("registers    smem   stack   spill stores   spill loads   kernel")
    failures = [line for line in text.splitlines() if SERIALIzED.search(line)]
    for row, name in zip(rows, demangle([row["name"] for row in rows])):
        if row["frame"] is None:
            failures.append(f"no stack frame line for {name}")
            continue
        stack, stores, loads = row["frame"]
        print(f"{row['registers']:>9}{row['smem']:>8}{stack:>8}{stores:>15}{loads:>14}   {name}")
        if stack or stores or loads:
            failures.append(f"stack or spills: {name}")
    print(*failures, f"{len(rows)} functions, {len(failures)} failures", sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        compile_to_log(sys.argv[2], sys.argv[3:])
    else:
        check(sys.argv[2])
