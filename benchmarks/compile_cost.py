#!/usr/bin/env python3
"""What compiling one policy costs, beside a source that only includes a header of CUB.

    python3 benchmarks/compile_cost.py
    python3 benchmarks/compile_cost.py --include old=../old/include --include new=include

Compiles benchmarks/compile_cost/one_policy.cu with each include folder, and the other source, in turn, --rounds times.
Prints the CPU seconds (user and system, of nvcc and all it starts) of each compile, the least, the medians, and the
ratios of the medians to that of CUB. A machine that is busy with other work adds to CPU seconds, too, and not evenly:
ratios of few rounds on such a machine say little. Compare ratios of one run alone. Needs nvcc on the PATH.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
POLICY = HERE / "compile_cost/one_policy.cu"
BASELINE = "cub"


def labelled_folder(argument):
    label, _, folder = argument.rpartition("=")
    folder = Path(folder)
    if not (folder / "masthead").is_dir():
        raise argparse.ArgumentTypeError(f"{folder} has no folder masthead: give the include folder, as label=DIR")
    if label == BASELINE:
        raise argparse.ArgumentTypeError(f"the label {BASELINE} is that of the source without masthead")
    return label or str(folder), folder


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="compiles of each source (default: 3)")
    parser.add_argument("--arch", default="90a", help="the one architecture compiled for (default: 90a)")
    parser.add_argument("--include", type=labelled_folder, action="append", metavar="LABEL=DIR",
                        help="an include folder to measure, may be given several times (default: that of this tree)")
    options = parser.parse_args()
    options.include = options.include or [("masthead", HERE.parent / "include")]
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if len(dict(options.include)) != len(options.include):
        parser.error("the labels of --include must differ")
    return options


def cpu_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}failed: {' '.join(command)}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_row(name, cells):
    print(f"{name:>8}" + "".join(f"{cell:>{width}}" for cell, width in cells), flush=True)


def main():
    options = arguments()
    if not (nvcc := shutil.which("nvcc")):
        sys.exit("nvcc is not on the PATH: this program measures it")
    with tempfile.TemporaryDirectory() as scratch:
        baseline = Path(scratch, "baseline.cu")
        baseline.write_text("#include <cub/block/block_reduce.cuh>\n")
        command = [nvcc, "-std=c++20", f"-gencode=arch=compute_{options.arch},code=sm_{options.arch}", "-c", "-o",
                   str(Path(scratch, "object.o"))]
        commands = {BASELINE: [*command, str(baseline)]}
        for label, folder in options.include:
            commands[label] = [*command, f"-I{folder}", str(POLICY)]
        widths = [max(len(label) + 2, 10) for label in commands]
        seconds = {label: [] for label in commands}
        print(f"CPU seconds of nvcc for sm_{options.arch}")
        print_row("round", zip(commands, widths))
        for number in range(1, options.rounds + 1):
            for label in commands:
                seconds[label].append(cpu_seconds(commands[label]))
            print_row(number, [(f"{seconds[label][-1]:.2f}", width) for label, width in zip(commands, widths)])
    print_row("least", [(f"{min(seconds[label]):.2f}", width) for label, width in zip(commands, widths)])
    medians = [statistics.median(seconds[label]) for label in commands]
    print_row("median", [(f"{median:.2f}", width) for median, width in zip(medians, widths)])
    print_row("ratio", [(f"{median / medians[0]:.2f}", width) for median, width in zip(medians, widths)])


if __name__ == "__main__":
    main()
