#!/usr/bin/env python3
"""Runs the tests of this folder with pytest, which any Python with PyTorch and pytest does as well:

    python3 -m pytest tests/python

Exits with 77 (SKIP in Meson), after saying why, where there is no PyTorch, no pytest or no GPU; MASTHEAD_REQUIRE_GPU=1
makes that a failure. The first run compiles the operators.
"""

import importlib.util
import os
import pathlib
import sys


def why_not():
    for name in ("torch", "pytest"):
        if importlib.util.find_spec(name) is None:
            return f"no {name} for {sys.executable}"
    import torch

    return None if torch.cuda.is_available() else "PyTorch finds no usable CUDA device"


def main():
    reason = why_not()
    if reason:
        print(f"tests/python: {reason}", file=sys.stderr)
        return 1 if os.environ.get("MASTHEAD_REQUIRE_GPU") == "1" else 77
    import pytest

    return pytest.main([str(pathlib.Path(__file__).parent), "-q", "-rf", "--tb=short", "-p", "no:cacheprovider", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
