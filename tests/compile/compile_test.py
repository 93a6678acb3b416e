#!/usr/bin/env python3
"""Compiles one source and judges the outcome against what the source itself says.

    compile_test.py SOURCE COMPILER [FLAG...]

A source with `// expect: SENTENCE` comments must fail to compile, every sentence must stand in an error line, and
every failed static assertion must be one of them: a source that breaks for another reason fails the test. A source
without such a comment must compile. A sentence may go on over the following `//   ` lines.
"""

import re
import subprocess
import sys
from pathlib import Path


def expected_sentences(source):
    lines = Path(source).read_text(encoding="utf-8").splitlines()
    sentences = []
    for line in lines:
        if line.startswith("// expect: "):
            sentences.append(line[len("// expect: "):].strip())
        elif sentences and line.startswith("//   "):
            sentences[-1] += " " + line[2:].strip()
        elif sentences:
            break
    return sentences


def judge(returncode, output, sentences):
    """What is wrong, or None. g++ says `static assertion failed: ...`, nvcc `static assertion failed with "..."`."""
    if not sentences:
        return None if returncode == 0 else "it must compile"
    if returncode == 0:
        return "it must not compile"
    errors = [line for line in output.splitlines() if re.search(r"\berror\b", line)]
    for sentence in sentences:
        if not any(sentence in error for error in errors):
            return f"no error says: {sentence}"
    for error in errors:
        if "static assertion failed" in error and not any(sentence in error for sentence in sentences):
            return f"an assertion failed that was not expected: {error}"
    return None


def main():
    source, command = sys.argv[1], sys.argv[2:]
    sentences = expected_sentences(source)
    run = subprocess.run([*command, source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    complaint = judge(run.returncode, run.stdout, sentences)
    if complaint:
        print(run.stdout)
        sys.exit(f"{source}: {complaint}")
    print(f"{source}: " + ("; ".join(sentences) if sentences else "compiles"))


if __name__ == "__main__":
    main()
