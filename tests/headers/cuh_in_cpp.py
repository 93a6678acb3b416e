#!/usr/bin/env python3
"""Checks that every .cuh in a source for the C++ compiler gives one error, which says what to do.

    cuh_in_cpp.py FOLDER COMPILER [FLAG...]       FOLDER is include/masthead
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

SENTENCE = "headers that end in .cuh are CUDA C++: compile the source with nvcc, as .cu or with -x cu"


def main():
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    headers = sorted(path.relative_to(folder.parent) for path in folder.rglob("*.cuh"))
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source.cpp")
        for header in headers:
            source.write_text(f'#include "{header}"\n')
            run = subprocess.run([*command, f"-I{folder.parent}", str(source)], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace")
            errors = [line for line in run.stdout.splitlines() if re.search(r"\berror:", line)]
            if run.returncode == 0 or len(errors) != 1 or SENTENCE not in errors[0]:
                failed += 1
                print(f"{header}: one error must say: {SENTENCE}", run.stdout, sep="\n")
    print(f"{len(headers)} headers, {failed} failures")
    sys.exit(failed != 0 or not headers)


if __name__ == "__main__":
    main()
