#!/usr/bin/env python3
"""Links objects that were compiled for different GPUs with one that g++ compiled, and runs the program.

    objects.py FOLDER CPP_COMPILER [FLAG...] -- NVCC [FLAG...]

part.cu is compiled three times, for sm_80, sm_90 and sm_90a: what it names must not be merged by the linker, as each
object launches its own kernels. main.cpp is compiled without CUDA: the types that it exchanges with the others, Error
among them, must be the same.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ARCHITECTURES = ["80", "90", "90a"]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    print(done.stdout, end="")
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {' '.join(command)}")
    return done.stdout


def main():
    folder, commands = Path(sys.argv[1]), sys.argv[2:]
    split = commands.index("--")
    cpp, nvcc = commands[:split], commands[split + 1:]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for architecture in ARCHITECTURES:
            objects.append(f"{scratch}/part_{architecture}.o")
            gencode = f"-gencode=arch=compute_{architecture},code=sm_{architecture}"
            run([*nvcc, gencode, f"-DSUFFIX={architecture}", "-c", str(folder / "part.cu"), "-o", objects[-1]])
        objects.append(f"{scratch}/main.o")
        run([*cpp, "-c", str(folder / "main.cpp"), "-o", objects[-1]])
        run([*nvcc, *objects, "-o", f"{scratch}/program"])
        run([f"{scratch}/program"])


if __name__ == "__main__":
    main()
