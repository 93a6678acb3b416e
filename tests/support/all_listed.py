#!/usr/bin/env python3
"""Fails when a test source of a folder is not listed in tests/meson.build: such a source would never run.

    all_listed.py FOLDER LISTED_SOURCE...
"""

import sys
from pathlib import Path


def main():
    folder, listed = Path(sys.argv[1]).resolve(), {Path(source).resolve() for source in sys.argv[2:]}
    present = {path for path in folder.iterdir() if path.suffix in (".cpp", ".cu")}
    for path in sorted(present - listed):
        print(f"not listed in tests/meson.build: {path}")
    print(f"{len(present)} sources in {folder}")
    sys.exit(present != listed)


if __name__ == "__main__":
    main()
