#!/usr/bin/env python3
"""Checks that every sentence a user can meet in a static_assert is expected by a compile test.

    sentences.py HEADER_FOLDER SOURCE...

Sentences for users start with `masthead::`; a static_assert without one states an invariant of the library's own.
"""

import re
import sys
from pathlib import Path

from compile_test import expected_sentences


def asserted_sentences(header):
    text = header.read_text(encoding="utf-8")
    for assertion in re.findall(r"\bstatic_assert\s*\((.*?)\)\s*;", text, re.DOTALL):
        sentence = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', assertion))
        if sentence.startswith("masthead::"):
            yield sentence


def main():
    headers = [path for path in Path(sys.argv[1]).rglob("*") if path.suffix in (".hpp", ".cuh")]
    asserted = {sentence: header for header in headers for sentence in asserted_sentences(header)}
    expected = {sentence for source in sys.argv[2:] for sentence in expected_sentences(source)}
    if not asserted:
        sys.exit("no static_assert with a sentence found")
    for sentence in asserted.keys() - expected:
        print(f"{asserted[sentence]}: no compile test expects: {sentence}")
    for sentence in expected - asserted.keys():
        print(f"no header asserts: {sentence}")
    if asserted.keys() != expected:
        sys.exit(1)
    print(f"{len(asserted)} sentences, each expected by a compile test")


if __name__ == "__main__":
    main()
