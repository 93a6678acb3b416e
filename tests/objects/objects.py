#!/usr/bin/env python3
"""Builds a program of parts that were compiled for different GPUs, and runs it.

    objects.py [--only FOLDER] SOURCES CPP_COMPILER [FLAG...] -- NVCC [FLAG...]

part.cu is compiled for compute_80 (PTX alone), sm_90 and sm_90a, to the same names. The objects are linked into one
program, and each into a shared object that another program loads: each part must run what it was compiled for, in every
order. main.cpp is compiled without CUDA: the types that it exchanges with the parts, Error among them, must be the same.

What can be told without a GPU is told from the objects: no function that the linker or the loader may take from another
object names a kernel of the wgmma engines, and no such symbol comes from an anonymous namespace, which nvcc names.
The exit status is 77 where there is no GPU and all else is as it must be; under MASTHEAD_REQUIRE_GPU=1 it is 1. With --only, the programs are left in FOLDER,
with the commands that run them in FOLDER/run.sh.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CODE = {"80": "-gencode=arch=compute_80,code=compute_80", "90": "-gencode=arch=compute_90,code=sm_90",
        "90a": "-gencode=arch=compute_90a,code=sm_90a"}
ORDERS = [["90a", "80"], ["80", "90a"], ["90a", "90"], ["90", "90a"], ["90", "80", "90a"]]
SKIP = 77

# What is this object's own: kernels of the wgmma engines, and the launches that come to them.
OWN = re.compile(r"_sm90_kernel<|::(forward|run_selected|launch_forward|launch_path|launch_resident)<")


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        print(done.stdout, end="")
        sys.exit(f"exit status {done.returncode}: {' '.join(command)}")
    return done.stdout


def demangled(names):
    return subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True,
                          check=True).stdout.splitlines()


def faults(path):
    """What is wrong with the symbols of an object: sentences."""
    functions, merged, found = {}, [], []  # (section, address) -> local function; mangled names
    sections = {}
    for line in run(["readelf", "-SW", path]).splitlines():
        if match := re.match(r"\s*\[\s*(\d+)\]\s+(\S+)\s", line):
            sections[match[1]] = match[2]
    for line in run(["readelf", "-sW", path]).splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
            continue
        address, kind, binding, index, name = int(fields[1], 16), fields[3], fields[4], fields[6], fields[7]
        if binding == "LOCAL" and kind == "FUNC":
            functions[sections.get(index), address] = name
        if binding in ("WEAK", "UNIQUE") and index != "UND":
            merged.append(name)
    for name in merged:
        if "masthead" in name and "_GLOBAL__N_" in name:
            found.append(f"an anonymous namespace does not keep to the object: {name}")
    weak = set(merged)
    owner, names = None, set()
    for line in run(["readelf", "-rW", path]).splitlines():
        if match := re.match(r"Relocation section '\.rela(\S*)'", line):
            owner = match[1]
            continue
        function = owner[len(".text."):] if owner and owner.startswith(".text.") else ""
        if function not in weak or "masthead" not in function and "planted" not in function:
            continue
        # offset, info, type, value of the symbol, symbol, + or -, addend
        fields = line.split()
        if len(fields) < 7 or fields[5] not in "+-":
            continue
        symbol, addend = fields[4], int(fields[6], 16) * (1 if fields[5] == "+" else -1)
        # A call counts from behind its four bytes.
        for place in (addend, addend + 4):
            target = functions.get((symbol, place), symbol if symbol in functions.values() else None)
            if target is not None:
                names.add((function, target))
    pairs = sorted(names)
    for (function, _), shown, target in zip(pairs, demangled([p[0] for p in pairs]), demangled([p[1] for p in pairs])):
        if OWN.search(target):
            found.append(f"{shown}, which is merged between objects, names {target}")
    return found


def build(scratch, sources, cpp, nvcc):
    """Compiles the parts and both programs; returns the commands that run them."""
    linked = []
    for name, code in CODE.items():
        part = f"{scratch}/part_{name}.o"
        run([*nvcc, code, "-Xcompiler=-fPIC", "-c", str(sources / "part.cu"), "-o", part])
        for fault in faults(part):
            sys.exit(f"part {name}: {fault}")
        run([*nvcc, "-shared", "-Xlinker=-z,defs", part, "-o",
             f"{scratch}/part_{name}.so"])
        linked.append(f"{scratch}/linked_{name}.o")
        run(["objcopy", f"--redefine-sym=run_part=run_part_{name}",
             f"--redefine-sym=fail_in_part=fail_in_part_{name}", part, linked[-1]])
    planted = f"{scratch}/planted.o"
    run([*nvcc, CODE["90a"], "-DPLANTED", "-O0", "-c", str(sources / "part.cu"), "-o", planted])
    if not any("planted" in fault for fault in faults(planted)):
        sys.exit("the check of symbols does not find a planted fault")
    main = str(sources / "main.cpp")
    run([*cpp, "-DLINKED", "-c", main, "-o", f"{scratch}/main_linked.o"])
    run([*nvcc, f"{scratch}/main_linked.o", *linked, "-o", f"{scratch}/linked"])
    run([*cpp, main, "-o", f"{scratch}/loading", "-ldl", "-rdynamic"])
    for order in ORDERS:
        yield ["linked", *order]
        for scope in ("local", "global"):
            yield ["loading", ".", scope, *order]


def main():
    arguments = sys.argv[1:]
    only = None
    if arguments[0] == "--only":
        only, arguments = Path(arguments[1]).resolve(), arguments[2:]
        only.mkdir(parents=True, exist_ok=True)
    sources, commands = Path(arguments[0]), arguments[1:]
    split = commands.index("--")
    cpp, nvcc = commands[:split], commands[split + 1:]
    if only:
        runs = [" ".join(["./" + command[0], *command[1:]]) for command in build(only, sources, cpp, nvcc)]
        lines = ["set -e", 'cd "$(dirname "$0")"', *(f'echo "{line}"; {line}' for line in runs), "echo all right"]
        (only / "run.sh").write_text("\n".join(lines) + "\n")
        return 0
    skipped = 0
    with tempfile.TemporaryDirectory() as scratch:
        for command in build(scratch, sources, cpp, nvcc):
            done = subprocess.run([f"./{command[0]}", *command[1:]], cwd=scratch, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
            print(" ".join(command), done.stdout, sep="\n", end="")
            if done.returncode == SKIP:
                skipped += 1
            elif done.returncode != 0:
                sys.exit(f"exit status {done.returncode}: {' '.join(command)}")
    if skipped and os.environ.get("MASTHEAD_REQUIRE_GPU") == "1":
        sys.exit("no usable CUDA device")
    return SKIP if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
