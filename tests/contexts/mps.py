#!/usr/bin/env python3
"""Runs one case of a device test program alone and as clients of MPS that have shares of the device.

    mps.py PROGRAM

The case prints a hash of the bits that it computes: it must be the same in all runs. MPS gets a daemon of its own, with
folders of its own, which is ended afterwards. The exit status is 77 where there is no GPU or the daemon does not start.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

CASE = "what this process has of the device computes bits that others can compare"
SHARES = ["100", "50", "12", "6"]
SKIP = 77


def run(program, environment):
    """The bits that the program prints, and how many multiprocessors it had; None where there is no GPU."""
    done = subprocess.run([program, "--device", f"--test-case={CASE}"], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode == SKIP:
        return None
    bits = re.search(r"^bits (\w+)$", done.stdout, re.M)
    print(done.stdout, end="")
    if done.returncode != 0 or bits is None:
        sys.exit(f"exit status {done.returncode}")
    return bits[1], re.findall(r"^(\d+) multiprocessors", done.stdout, re.M)[0]


def main():
    program = sys.argv[1]
    alone = run(program, os.environ)
    if alone is None:
        return SKIP
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        print("SKIPPED: no nvidia-cuda-mps-control")
        return SKIP
    with tempfile.TemporaryDirectory() as scratch:
        environment = dict(os.environ, CUDA_MPS_PIPE_DIRECTORY=f"{scratch}/pipe", CUDA_MPS_LOG_DIRECTORY=f"{scratch}/log")
        os.mkdir(f"{scratch}/pipe")
        os.mkdir(f"{scratch}/log")
        started = subprocess.run([control, "-d"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, check=False)
        if started.returncode != 0:
            print(f"SKIPPED: the daemon of MPS does not start: {started.stdout}")
            return SKIP
        try:
            for share in SHARES:
                client = run(program, dict(environment, CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=share))
                if client is None:
                    print("SKIPPED: a client of MPS sees no GPU")
                    return SKIP
                if client[0] != alone[0]:
                    sys.exit(f"{share} %: bits {client[0]}, alone {alone[0]}")
                print(f"{share} %: {client[1]} multiprocessors, the same bits")
        finally:
            subprocess.run([control], env=environment, input="quit\n", text=True, check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
