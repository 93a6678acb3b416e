#!/usr/bin/env python3
"""Checks that the headers' includes point downwards, and other rules of the folders under include/masthead.

    layers.py FOLDER         FOLDER is include/masthead
    layers.py --self-test    small trees with one fault each: every one must be found

A header may include headers of its own folder and of folders further down in ORDER. It names them from the include
folder ("masthead/tile/tile.hpp"), is at most 400 lines long (half of them at most 120), and stands in a folder of
ORDER or is one of API_HEADERS; nothing includes the umbrella, masthead.cuh. Neither folders nor headers include each
other in a circle. Assembly stands in ptx/ alone. A .hpp compiles without CUDA: what needs it stands between
`#if defined(__CUDACC__)` and `#endif`. The folder cpu stands apart: nothing includes it. A doc comment (///, ///<) is
read alone, in a tooltip or a list: none begins "The same", "As above", "Like " or "Ditto".
"""

import re
import statistics
import sys
import tempfile
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

API_HEADERS = ["masthead.cuh", "head.cuh", "linear_batch_norm_softmax.cuh", "scale_softmax.cuh", "fold_batch_norm.cuh"]
UMBRELLA = "masthead.cuh"
API = "."
ORDER = [API, "shard", "launch", "kernel", "plan", "epilogue", "softmax", "gemm", "reduce", "policy", "tile", "numeric",
         "ptx", "core"]
ALLOWED = {folder: set(ORDER[place:]) for place, folder in enumerate(ORDER)} | {"cpu": {"cpu", "numeric", "core"}}
MOST_LINES, MOST_MEDIAN_LINES = 400, 120

COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
DOC_COMMENT = re.compile(r"///(?!/)(<?)\s*(.*)")
LEANING = re.compile(r"(?:the same|as above|like|ditto)\b", re.IGNORECASE)
ASSEMBLY = re.compile(r"\b(?:asm|__asm|__asm__)\b")
DIRECTIVE = re.compile(r"^\s*#\s*(include|ifdef|ifndef|if|elif|else|endif)\b(.*)")
INCLUDED = re.compile(r'\s*([<"])([^>"]+)[>"]')
CUDA_HEADER = re.compile(r"cuda|cub/|cooperative_groups|thrust/|nv/")
CUDA_ONLY = re.compile(r"(?<![!\w])defined\s*\(?\s*__CUDACC__")
HOST_ONLY = re.compile(r"\s*!\s*defined\s*\(?\s*__CUDACC__\s*\)?\s*$")


class Header:
    """What the rules ask of a header."""

    def __init__(self, path, folder):
        text = path.read_text(encoding="utf-8")
        self.name = str(path.relative_to(folder))
        self.folder = str(path.relative_to(folder).parent)
        self.line_count = len(text.splitlines())
        self.includes = list(includes_of(without(text, comments=True)))
        self.targets = {file.removeprefix("masthead/") for _, _, file, _ in self.includes if file.startswith("masthead/")}
        self.leaning = list(leaning_comments(text))
        code = without(text, comments=True, strings=True)
        self.assembly = [code.count("\n", 0, match.start()) + 1 for match in ASSEMBLY.finditer(code)]


def without(text, comments=False, strings=False):
    """Lines keep their numbers."""
    def blank(match):
        is_string = match[0].startswith('"')
        return " " + "\n" * match[0].count("\n") if (strings if is_string else comments) else match[0]
    return COMMENT_OR_STRING.sub(blank, text)


def leaning_comments(text):
    """(line, first line) of each doc comment whose beginning leans on something outside of it."""
    previous = None  # the line and the kind, "<" or "", of the doc comment before
    for comment in COMMENT_OR_STRING.finditer(text):
        if not (match := DOC_COMMENT.fullmatch(comment[0])):
            continue
        number = text.count("\n", 0, comment.start()) + 1
        is_whole_line = not text[text.rfind("\n", 0, comment.start()) + 1:comment.start()].strip()
        if not (is_whole_line and previous == (number - 1, match[1])) and LEANING.match(match[2]):
            yield number, comment[0]
        previous = (number, match[1])


def includes_of(text):
    """(line, bracket, file, whether the line is read under nvcc alone) of each include."""
    conditions = []  # of the blocks around a line: compiled by nvcc alone, and whether its #else is
    for number, line in enumerate(text.splitlines(), start=1):
        if not (match := DIRECTIVE.match(line)):
            continue
        word, rest = match.groups()
        if word == "include":
            if included := INCLUDED.match(rest):
                yield number, included[1], included[2], any(cuda for cuda, _ in conditions)
        elif word == "if":
            conditions.append((CUDA_ONLY.search(rest) is not None and "||" not in rest, HOST_ONLY.match(rest) is not None))
        elif word in ("ifdef", "ifndef"):
            about_cuda = rest.strip() == "__CUDACC__"
            conditions.append((about_cuda and word == "ifdef", about_cuda and word == "ifndef"))
        elif conditions:
            _, otherwise = conditions.pop()
            if word == "elif":
                conditions.append((otherwise or (CUDA_ONLY.search(rest) is not None and "||" not in rest), otherwise))
            elif word == "else":
                conditions.append((otherwise, False))


def has_place(header):
    return header.name in API_HEADERS if header.folder == API else header.folder in ALLOWED


def place_faults(header):
    if "/" in header.folder:
        yield f"{header.name}: stands in {header.folder}, a folder more than one deep"
    elif header.folder == API and header.name not in API_HEADERS:
        yield f"{header.name}: is no API header, so it must stand in a folder"
    elif not has_place(header):
        yield f"{header.name}: stands in {header.folder}, a folder without a place in the order"


def include_faults(header, present):
    for line, bracket, file, is_cuda_only in header.includes:
        place = f"{header.name}:{line}"
        target = file.removeprefix("masthead/")
        cuda = CUDA_HEADER.match(file) is not None
        if target != file:
            cuda = target.endswith(".cuh")
            if target not in present:
                yield f"{place}: includes {file}, which does not exist"
            elif target == UMBRELLA:
                yield f"{place}: includes {file}, the umbrella for users"
            elif has_place(header) and has_place(present[target]):
                folder = present[target].folder
                if folder not in ALLOWED[header.folder]:
                    yield f"{place}: includes {file}: {named(header.folder)} may not include {named(folder)}"
        elif bracket == '"' and not cuda:
            yield f'{place}: includes "{file}", which is not named from the include folder'
        if cuda and header.name.endswith(".hpp") and not is_cuda_only:
            yield f"{place}: includes {file}, which needs CUDA, outside of #if defined(__CUDACC__)"


def named(folder):
    return "an API header" if folder == API else f"{folder}/"


def circle_of(graph):
    """A circle of `graph`, node -> nodes it includes, from a node back to it; or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]  # the sorter names what is included first
    return []


def circle_faults(headers, present):
    """One circle of headers and one of folders; a folder's arrow to the next is told with a header that makes it."""
    files = {header.name: header.targets & present.keys() for header in headers}
    placed = [header for header in headers if has_place(header)]
    arrows = {(header.folder, present[target].folder): header.name
              for header in placed for target in files[header.name] if has_place(present[target])}
    folders = {header.folder: set() for header in placed}
    for folder, other in arrows:
        folders[folder] |= {other} - {folder}
    if circle := circle_of(files):
        yield f"{circle[0]}: headers include each other: {' -> '.join(circle)}"
    if circle := circle_of(folders):
        made_by = [arrows[arrow] for arrow in zip(circle, circle[1:])]
        yield f"{made_by[0]}: folders include each other: {' -> '.join(circle)}, by {', '.join(made_by)}"


def length_faults(headers):
    for header in headers:
        if header.line_count > MOST_LINES:
            yield f"{header.name}: has {header.line_count} lines, at most {MOST_LINES} are allowed"
    middle = sorted(headers, key=lambda header: header.line_count)[(len(headers) - 1) // 2]
    median = statistics.median(header.line_count for header in headers)
    if median > MOST_MEDIAN_LINES:
        yield f"{middle.name}: the median length is {median:g} lines, at most {MOST_MEDIAN_LINES} are allowed"


def check(folder):
    """All faults, one a line, and the number of headers."""
    headers = [Header(path, folder) for path in sorted(folder.rglob("*")) if path.suffix in (".hpp", ".cuh")]
    if not headers:
        return [f"{folder}: no headers"], 0
    present = {header.name: header for header in headers}
    faults = []
    for header in headers:
        faults += place_faults(header)
        faults += include_faults(header, present)
        if header.folder != "ptx":
            faults += [f"{header.name}:{line}: assembly outside of ptx/" for line in header.assembly]
        faults += [f"{header.name}:{line}: a doc comment leans on another: {text}" for line, text in header.leaning]
    faults += circle_faults(headers, present)
    faults += length_faults(headers)
    return faults, len(headers)


def include(file):
    return f'#include "masthead/{file}"\n'


GOOD = {
    "masthead.cuh": include("head.cuh"),
    "head.cuh": include("kernel/softmax.cuh") + include("scale_softmax.cuh"),
    "scale_softmax.cuh": "#include <cuda_runtime.h>\n" + include("kernel/softmax.cuh"),
    "kernel/softmax.cuh": include("kernel/row.cuh") + include("core/dtype.hpp"),
    "kernel/row.cuh": "// An asm that is a word; #include \"masthead/head.cuh\"\n" + include("ptx/load.cuh"),
    "ptx/load.cuh": "#include <cuda/ptx>\n" + 'asm volatile("nop;");\n',
    "numeric/split.hpp": "#include <bit>\n#if defined(__CUDACC__)\n#include <cuda_fp16.h>\n" + include("ptx/load.cuh")
                         + "#else\n#include <cmath>\n#endif\n",
    "tile/raster.hpp": "#if !defined(__CUDACC__)\n#else\n#include <cub/cub.cuh>\n#endif\n" + "\n" * 395,
    "core/dtype.hpp": '#include <cstdint>\nconst char* text = "asm";\n',
    "core/comments.hpp": "// Like a plain comment.\n/// One that wraps:\n/// like this.\nint a;  ///< a trailing one,\n"
                         "        ///< the same one\n/// Likely to be read alone.\n//// The same row of slashes\n"
                         'const char* b = "/// Ditto";\n',
    "cpu/gemm.hpp": include("cpu/buffer.hpp") + include("numeric/split.hpp") + include("core/dtype.hpp"),
    "cpu/buffer.hpp": "#pragma once\n",
}
# What is wrong, the headers that are added to the good ones or replaced, and the faults that must be found.
CASES = [
    ("nothing", {}, []),
    ("(a) an arrow upwards", {"ptx/up.cuh": include("kernel/row.cuh"), "kernel/row.cuh": "\n"},
     ["ptx/up.cuh:1: includes masthead/kernel/row.cuh: ptx/ may not include kernel/"]),
    ("(a) an arrow to the API", {"core/up.cuh": include("head.cuh"), "kernel/softmax.cuh": "\n"},
     ["core/up.cuh:1: includes masthead/head.cuh: core/ may not include an API header"]),
    ("(a) the API on cpu", {"head.cuh": include("cpu/gemm.hpp")},
     ["head.cuh:1: includes masthead/cpu/gemm.hpp: an API header may not include cpu/"]),
    ("(a) core on cpu", {"core/error.hpp": include("cpu/buffer.hpp"), "cpu/gemm.hpp": "\n"},
     ["core/error.hpp:1: includes masthead/cpu/buffer.hpp: core/ may not include cpu/"]),
    ("(a) cpu on tile", {"cpu/tile.hpp": include("tile/raster.hpp")},
     ["cpu/tile.hpp:1: includes masthead/tile/raster.hpp: cpu/ may not include tile/"]),
    ("(a) a folder of no layer", {"misc/a.hpp": "\n"}, ["misc/a.hpp: stands in misc, a folder without a place"]),
    ("(a) a header in no folder", {"config.hpp": "\n", "core/a.hpp": include("config.hpp")}, ["config.hpp: is no API header"]),
    ("(b) a circle of headers",
     {"tile/a.hpp": include("tile/b.hpp"), "tile/b.hpp": include("tile/c.hpp"), "tile/c.hpp": include("tile/a.hpp")},
     ["tile/a.hpp -> tile/b.hpp -> tile/c.hpp"]),
    ("(b) a header in itself", {"tile/a.hpp": include("tile/a.hpp")},
     ["tile/a.hpp: headers include each other: tile/a.hpp -> tile/a.hpp"]),
    ("(b) a circle of folders",
     {"core/a.hpp": include("numeric/a.hpp"), "numeric/a.hpp": "\n", "numeric/b.hpp": include("core/dtype.hpp")},
     ["core/a.hpp:1: includes masthead/numeric/a.hpp: core/ may not include numeric/", ": folders include each other: "]),
    ("(c) no such header", {"tile/a.hpp": "\n" + include("tile/gone.hpp")},
     ["tile/a.hpp:2: includes masthead/tile/gone.hpp, which does not exist"]),
    ("(c) a name that is not whole", {"tile/a.hpp": '#include "raster.hpp"\n'},
     ['tile/a.hpp:1: includes "raster.hpp", which is not named from the include folder']),
    ("(d) a long header", {"tile/a.hpp": "\n" * 401}, ["tile/a.hpp: has 401 lines"]),
    ("(e) long headers", {f"tile/{name}.hpp": "\n" * 121 for name in "abcdefghijkl"},
     ["tile/a.hpp: the median length is 121 lines"]),
    ("(f) assembly", {"gemm/a.cuh": 'inline void f() {\n  asm volatile("");\n}\n'}, ["gemm/a.cuh:2: assembly"]),
    ("(f) assembly, as gcc spells it", {"gemm/a.cuh": '__asm__("");\n'}, ["gemm/a.cuh:1: assembly"]),
    ("(g) a folder in a folder", {"gemm/sm90/a.cuh": "\n"},
     ["gemm/sm90/a.cuh: stands in gemm/sm90, a folder more than one deep"]),
    ("(h) a .cuh in a .hpp", {"numeric/a.hpp": include("ptx/load.cuh")},
     ["numeric/a.hpp:1: includes masthead/ptx/load.cuh, which needs CUDA"]),
    *((f"(h) {name} in a .hpp", {"numeric/a.hpp": f"#include <{name}>\n"},
       [f"numeric/a.hpp:1: includes {name}, which needs CUDA"])
      for name in ("cuda_fp16.h", "cuda/ptx", "cub/cub.cuh", "cooperative_groups.h")),
    *((f"(h) CUDA after {' '.join(lines)}", {"numeric/a.hpp": "\n".join([*lines, "#include <cuda.h>", "#endif\n"])},
       [f"numeric/a.hpp:{len(lines) + 1}: includes cuda.h, which needs CUDA"])
      for lines in (["#if !defined(__CUDACC__)"], ["#if defined(__CUDACC__) || defined(X)"], ["#ifndef __CUDACC__"],
                    ["#if defined(__CUDACC__)", "#else"], ["#if defined(__CUDACC__)", "#endif", "#if X"])),
    ("(i) the umbrella", {"head.cuh": "\n", "scale_softmax.cuh": include("masthead.cuh")},
     ["scale_softmax.cuh:1: includes masthead/masthead.cuh, the umbrella"]),
    *((f"(j) {comment}", {"core/doc.hpp": f"int a;\n{comment}\nint b;\n"},
       [f"core/doc.hpp:2: a doc comment leans on another: {comment.strip()}"])
      for comment in ("/// The same for b.", "/// As above.", "///  Like a, but of b.", "  /// Ditto.", "///< the same of b")),
    ("(j) a trailing doc comment", {"core/doc.hpp": "int a;  ///< a thing\nint b;  ///< ditto\n"},
     ["core/doc.hpp:2: a doc comment leans on another: ///< ditto"]),
    ("(j) a doc comment behind a trailing one", {"core/doc.hpp": "int a;  ///< a thing\n/// The same.\nint b;\n"},
     ["core/doc.hpp:2: a doc comment leans on another: /// The same."]),
]


def self_test():
    failed = 0
    for what, changed, expected in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "masthead")
            for name, text in (GOOD | changed).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            faults, _ = check(folder)
        ok = len(faults) == len(expected) and all(words in fault for words, fault in zip(expected, faults))
        print(f"{'ok' if ok else 'FAILED':6} {what}")
        print("".join(f"       {fault}\n" for fault in faults if not ok), end="")
        failed += not ok
    sys.exit(f"{failed} of {len(CASES)} failed" if failed else None)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    faults, count = check(Path(sys.argv[1]))
    print(*faults, f"{count} headers, {len(faults)} faults", sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
