#!/usr/bin/env python3
"""Checks that ninja rebuilds device objects when a header changes.

    rebuild_test.py NINJA BUILD_FOLDER INCLUDE_FOLDER PROBE_OBJECT PROBE_HEADER

1. Every .cu object that has been built has recorded dependencies, its own source among them. (Without a dependency
   file, or when two sources write the same one, ninja knows nothing or the wrong thing and rebuilds nothing.)
2. All but the probe depend on a header of this project.
3. Touching PROBE_HEADER, a header made for this test in the build folder, makes ninja want to rebuild PROBE_OBJECT.
"""

import os
import subprocess
import sys
from pathlib import Path


def ninja(tool, build, *arguments):
    return subprocess.run([tool, "-C", build, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=True).stdout


def device_objects(tool, build):
    """Object -> its .cu source, for each compile step ninja knows."""
    objects = {}
    for line in ninja(tool, build, "-t", "targets", "all").splitlines():
        output, _, rule = line.partition(": ")
        if rule == "cuda_COMPILER" and output.endswith(".cu.o"):
            query = ninja(tool, build, "-t", "query", output).splitlines()
            objects[output] = next(entry.strip() for entry in query if entry.strip().endswith(".cu"))
    return objects


def recorded_dependencies(tool, build, target):
    lines = ninja(tool, build, "-t", "deps", target).splitlines()
    lines = [line for line in lines if line.startswith("    ")]
    return {os.path.realpath(os.path.join(build, line.strip())) for line in lines}


def main():
    tool, build, include, probe_object, probe_header = sys.argv[1:]
    project = str(Path(include).resolve().parent)
    failures = []
    objects = device_objects(tool, build)
    if probe_object not in objects:
        sys.exit(f"{probe_object} is not among the {len(objects)} device objects of {build}")
    for target, source in objects.items():
        if not Path(build, target).exists():
            continue
        dependencies = recorded_dependencies(tool, build, target)
        if os.path.realpath(os.path.join(build, source)) not in dependencies:
            failures.append(f"{target}: its source is not among its {len(dependencies)} recorded dependencies")
        elif target != probe_object and not any(path.startswith(project) and path.endswith((".hpp", ".cuh", ".h")) for path in dependencies):
            failures.append(f"{target}: depends on no header of this project")

    before = ninja(tool, build, "-n", probe_object)
    if "no work to do" not in before:
        failures.append(f"the probe is not up to date, so the test proves nothing:\n{before}")
    os.utime(probe_header)
    after = ninja(tool, build, "-n", probe_object)
    if probe_object not in after:
        failures.append(f"{probe_header} was touched, {probe_object} would not be rebuilt:\n{after}")
    ninja(tool, build, probe_object)
    print(f"{len(objects)} device objects, {len(failures)} failures", *failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
