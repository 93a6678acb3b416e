#!/usr/bin/env python3
"""Compiles a source and fails for every warning that names a header of the folder, and for every error.

    warnings.py FOLDER COMPILER [FLAG...]        FOLDER is include/masthead

nvcc's own headers and the text it generates break -Wold-style-cast, so that no program can turn that into an error:
warnings of others are counted and let pass.
"""

import subprocess
import sys
from pathlib import Path


def main():
    folder, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    warnings = [line for line in run.stdout.splitlines() if "warning" in line]
    own = [line for line in warnings if str(folder) in line or "masthead/" in line.split("warning")[0]]
    print(*own, f"{len(warnings)} warnings, {len(own)} of {folder.name}", sep="\n")
    if run.returncode != 0:
        print(run.stdout)
    sys.exit(run.returncode != 0 or bool(own))


if __name__ == "__main__":
    main()
