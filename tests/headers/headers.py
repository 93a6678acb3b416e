#!/usr/bin/env python3
"""Compiles every header of a folder; the list is read from the folder, so no header can be forgotten.

    headers.py alone FOLDER SUFFIX[,SUFFIX] COMPILER [FLAG...]   each header, included twice, in a source of its own
    headers.py link  FOLDER SUFFIX[,SUFFIX] COMPILER [FLAG...]   all headers in two sources that are linked and run
    headers.py behind FILE FOLDER SUFFIX[,SUFFIX] COMPILER [FLAG...]   all headers in one source, behind the standard and
                                                        the CUDA headers that they include and behind FILE

FOLDER is the include folder (its parent goes on the include path); .cuh makes the sources .cu.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def include(header):
    return f'#include "{header}"\n'


def run(command):
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout, time.monotonic() - start


def compile_alone(headers, extension, command, scratch):
    def compile_one(header):
        source = scratch / (header.replace("/", "_") + extension)
        source.write_text(include(header) * 2)
        return (header, *run([*command, str(source)]))

    failed = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for header, returncode, output, seconds in pool.map(compile_one, headers):
            print(f"{'ok' if returncode == 0 else 'FAILED':6} {seconds:5.1f} s  {header}")
            print(output, end="")
            failed += returncode != 0
    return failed


def compile_and_link(headers, extension, command, scratch):
    """The second source has the headers in reverse order, so that none leans on what comes before it."""
    once = "".join(map(include, headers))
    reverse = "".join(map(include, reversed(headers)))
    first, second, program = scratch / f"first{extension}", scratch / f"second{extension}", scratch / "linked"
    first.write_text(once * 2 + "int second();\nint main() { return second(); }\n")
    second.write_text(reverse * 2 + "int second();\nint second() { return 0; }\n")
    objects = [str(source.with_suffix(".o")) for source in (first, second)]
    with ThreadPoolExecutor(2) as pool:
        steps = list(pool.map(lambda s: run([*command, "-c", str(s), "-o", str(s.with_suffix(".o"))]), (first, second)))
    if all(step[0] == 0 for step in steps):
        steps.append(run([*command, *objects, "-o", str(program)]))
    if all(step[0] == 0 for step in steps):
        steps.append(run([str(program)]))
    for returncode, output, seconds in steps:
        print(f"{'ok' if returncode == 0 else 'FAILED':6} {seconds:5.1f} s")
        print(output, end="")
    return sum(step[0] != 0 for step in steps)


def system_headers(folder, headers, cuda):
    """What the headers include in angle brackets; without CUDA, what stands outside of `#if defined(__CUDACC__)`."""
    found = set()
    for header in headers:
        text = (folder.parent / header).read_text(encoding="utf-8")
        if not cuda:
            text = re.sub(r"^#if defined\(__CUDACC__\).*?^#(?:else|endif)", "", text, flags=re.DOTALL | re.MULTILINE)
        found.update(re.findall(r"^#include <([^>]+)>", text, flags=re.MULTILINE))
    return sorted(found)


def compile_behind(file, folder, headers, extension, command, scratch):
    source = scratch / f"behind{extension}"
    system = system_headers(folder, headers, extension == ".cu")
    source.write_text("".join(f"#include <{header}>\n" for header in system) + include(file.resolve()) +
                      "".join(map(include, headers)))
    returncode, output, seconds = run([*command, str(source)])
    print(f"{'ok' if returncode == 0 else 'FAILED':6} {seconds:5.1f} s  behind {', '.join(system)} and {file.name}")
    print(output, end="")
    return int(returncode != 0)


def main():
    mode = sys.argv.pop(1)
    file = Path(sys.argv.pop(1)) if mode == "behind" else None
    folder, suffixes, command = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
    headers = sorted(str(path.relative_to(folder.parent)) for path in folder.rglob("*") if path.suffix in suffixes)
    if not headers:
        sys.exit(f"{folder}: no headers named {' '.join(suffixes)}")
    extension = ".cu" if ".cuh" in suffixes else ".cpp"
    command = [*command, f"-I{folder.parent}"]
    with tempfile.TemporaryDirectory() as scratch:
        if mode == "behind":
            failed = compile_behind(file, folder, headers, extension, command, Path(scratch))
        else:
            failed = {"alone": compile_alone, "link": compile_and_link}[mode](headers, extension, command, Path(scratch))
    print(f"{len(headers)} headers, {failed} failures")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
