"""Times masthead's scale_softmax beside PyTorch's softmax and a copy of the same bytes, in one run.

    python3 benchmarks/pytorch_softmax.py --library build/benchmarks/libmasthead_c.so --json softmax.json

Needs PyTorch with CUDA. The systems take turns on the same rotating tensors; every output is checked against
float64 before it is timed, and the exit status is 1 if one is wrong. The sampling is that of
support/timing.cuh with --graphs, the rows of the JSON file those of support/report.cpp. PyTorch's softmax
allocates its result, as it does in a model; its allocator hands out the same memory again and again, so that
result may stay in L2.
"""

import argparse
import ctypes
import datetime
import json
import math
import statistics
import subprocess
import sys

import torch

DTYPES = {"f32": (torch.float32, 1), "bf16": (torch.bfloat16, 3)}  # and masthead::Dtype's number
PROBLEMS = ["1024x8192", "4096x32768", "64x128256"]


class Masthead:
    """The shared library built from c_api.cu."""

    def __init__(self, path):
        self.function = ctypes.CDLL(path).masthead_scale_softmax
        self.function.restype = ctypes.c_int
        self.function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                  ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64]
        self.error = ctypes.create_string_buffer(512)

    def scale_softmax(self, x, scale, y, number, stream):
        if self.function(number, x.data_ptr(), scale.data_ptr(), y.data_ptr(), x.shape[0], x.shape[1], stream,
                         self.error, len(self.error)):
            raise RuntimeError(self.error.value.decode())


class Rotation:
    """Sets of x and y whose total exceeds L2 three times and is at least 256 MB, and a tensor to read between
    single calls, which replaces what L2 holds without leaving dirty lines as a flush by writing would."""

    def __init__(self, rows, columns, dtype):
        size = max(3 * torch.cuda.get_device_properties(0).L2_cache_size, 256 << 20)
        count = max(2, math.ceil(size / (2 * rows * columns * dtype.itemsize)))
        self.x = [2 * torch.randn(rows, columns, device="cuda", dtype=dtype) for _ in range(count)]
        self.y = [torch.full_like(x, float("nan")) for x in self.x]
        self.other = torch.randn(size // 4, device="cuda")
        self.sum = torch.empty((), device="cuda")

    def sweep(self):
        torch.sum(self.other, dim=0, out=self.sum)


def microseconds(calls):
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for call in calls:
        call()
    stop.record()
    stop.synchronize()
    return 1e3 * start.elapsed_time(stop)


class Block:
    """A block of calls on rotating sets, replayed as a CUDA graph: Python is slower than some of the kernels."""

    def __init__(self, system, rotation, block_us):
        sets = range(len(rotation.x))
        for i in sets:
            system(i)
        warm = microseconds([lambda i=i: system(i) for i in sets]) / len(sets)
        self.rotation = rotation
        self.calls = min(1000, max(5, math.ceil(block_us / warm)))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream()):
            for i in range(self.calls):
                system(i % len(sets))

    def time(self):
        """Microseconds per call. Sweeps keep the device busy while the host launches the graph."""
        for _ in range(4):
            self.rotation.sweep()
        return microseconds([self.graph.replay]) / self.calls


def measure(systems, timing, repetitions, block_us, rotation):
    blocks = {}
    if timing == "back_to_back":
        blocks = {name: Block(system, rotation, block_us) for name, system in systems.items()}
    samples = {name: [] for name in systems}
    names = list(systems)
    for round_ in range(repetitions + 1):  # the first is thrown away
        for turn in range(len(names)):
            name = names[(turn + round_) % len(names)]
            if timing == "back_to_back":
                us = blocks[name].time()
            else:
                rotation.sweep()
                us = microseconds([lambda: systems[name](round_ % len(rotation.x))])
            if round_ > 0:
                samples[name].append(us)
    return samples


def error(y, reference):
    """max |log p - log p_ref| over probabilities that are normal numbers of y's dtype; NaN if y holds one."""
    if torch.isnan(y).any():
        return float("nan")
    normal = reference >= math.log(torch.finfo(y.dtype).tiny)
    return (y.double().log() - reference)[normal].abs().max().item()


def check(system, rotation, scale, is_copy, is_scaled):
    """Runs the system on set 0 and returns its error and whether it is right."""
    rotation.y[0].fill_(float("nan"))
    result = system(0)
    y = rotation.y[0] if result is None else result
    x = rotation.x[0]
    if is_copy:
        return 0.0, torch.equal(x, y)
    # PyTorch's scale * x is rounded to the dtype before softmax sees it: a rounding of the logits' size.
    rounds_logits = result is not None and is_scaled
    rows = torch.linspace(0, x.shape[0] - 1, min(x.shape[0], 64)).long().to(x.device)
    logits = x[rows].double() * (scale.double() if is_scaled else 1)
    epsilon = torch.finfo(x.dtype).eps
    tolerance = 1e-4 + epsilon + (epsilon * logits.abs().max().item() if rounds_logits else 0)
    worst = error(y[rows], torch.log_softmax(logits, dim=1))
    return worst, worst <= tolerance and not torch.isnan(y).any().item()


def nvidia_smi(field):
    try:
        bus = torch.cuda.get_device_properties(0)
        bus = f"{bus.pci_domain_id:08x}:{bus.pci_bus_id:02x}:{bus.pci_device_id:02x}.0"
        run = subprocess.run(["nvidia-smi", f"--id={bus}", f"--query-gpu={field}", "--format=csv,noheader"],
                             capture_output=True, text=True, check=True, timeout=30)
        return run.stdout.strip() or None
    except (AttributeError, OSError, subprocess.SubprocessError):
        return None


def clocks():
    fields = {"sm": "clocks.sm", "memory": "clocks.mem", "maximum_sm": "clocks.max.sm", "power": "power.draw",
              "temperature": "temperature.gpu"}
    return {name: nvidia_smi(field) for name, field in fields.items()}


def print_table(rows):
    lines = [["problem", "precision", "mode", "timing", "system", "us median", "us min", "us max", "ratio"]]
    for r in rows:
        lines.append([r["problem"], r["precision"], r["mode"], r["timing"], r["system"], f"{r['us_median']:.2f}",
                      f"{r['us_min']:.2f}", f"{r['us_max']:.2f}", f"{r['ratio']:.3f}"])
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        cells = [c.ljust(w) if i < 5 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]
        print("| " + " | ".join(cells) + " |")


def parse(parser, timing, repetitions):
    """The command line, with the options that both programs have."""
    parser.add_argument("--timing", choices=["back_to_back", "single", "both"], default=timing)
    parser.add_argument("--repetitions", type=int, default=repetitions, help="samples of each system; at least 15")
    parser.add_argument("--block-us", type=float, default=20000, help="length of a block of back-to-back calls")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--commit", default="unknown", help="what was measured, for the file's header")
    options = parser.parse_args()
    if options.repetitions < 15:
        parser.error("--repetitions must be at least 15")
    options.timings = ["back_to_back", "single"] if options.timing == "both" else [options.timing]
    return options


def make_header(program, options, **more):
    properties = torch.cuda.get_device_properties(0)
    return {"program": program, "commit": options.commit,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "gpu": properties.name, "driver": nvidia_smi("driver_version"),
            "architecture": 10 * properties.major + properties.minor,
            "multiprocessors": properties.multi_processor_count, "l2_bytes": properties.L2_cache_size,
            "torch": torch.__version__, "cuda_runtime": torch.version.cuda, "repetitions": options.repetitions, **more,
            "clocks_before": clocks()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libmasthead_c.so, built from c_api.cu")
    parser.add_argument("--problem", action="append", help="rows x columns; repeatable")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="of x and y; repeatable")
    options = parse(parser, timing="both", repetitions=21)
    if not torch.cuda.is_available():
        print("pytorch_softmax: no usable CUDA device", file=sys.stderr)
        return 77

    library = Masthead(options.library)
    header = make_header("pytorch_softmax", options, graphs=True)
    checks, rows = [], []
    torch.manual_seed(1)
    # A stream of our own, as in the other programs: masthead never uses the default one by itself.
    with torch.cuda.stream(torch.cuda.Stream()):
        stream = torch.cuda.current_stream().cuda_stream
        for problem in options.problem or PROBLEMS:
            for dtype_name in options.dtype or DTYPES:
                dtype, number = DTYPES[dtype_name]
                rotation = Rotation(*map(int, problem.split("x")), dtype)
                scale = torch.tensor([1.25], device="cuda", dtype=dtype)
                x, y = rotation.x, rotation.y
                systems = {
                    "copy": lambda i: (y[i].copy_(x[i]), None)[1],
                    "torch_softmax": lambda i: torch.softmax(x[i], dim=1),
                    "torch_scale_softmax": lambda i: torch.softmax(scale * x[i], dim=1),
                    "masthead": lambda i: library.scale_softmax(x[i], scale, y[i], number, stream),
                }
                case = {"problem": problem, "precision": dtype_name, "mode": "softmax"}
                for name, system in systems.items():
                    worst, right = check(system, rotation, scale, name == "copy", name != "torch_softmax")
                    checks.append({**case, "system": name, "metric": "max|dlogp|", "error": worst, "right": right})
                    print(f"check {problem} {dtype_name} {name}: max|dlogp| {worst:.3g}{'' if right else '  WRONG'}",
                          flush=True)
                for timing in options.timings:
                    samples = measure(systems, timing, options.repetitions, options.block_us, rotation)
                    baseline = statistics.median(samples["copy"])
                    for name, us in samples.items():
                        rows.append({**case, "timing": timing, "system": name, "us_median": statistics.median(us),
                                     "us_min": min(us), "us_max": max(us),
                                     "ratio": statistics.median(us) / baseline})
                del rotation, x, y, systems
                torch.cuda.empty_cache()
    header["clocks_after"] = clocks()
    print_table(rows)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"header": header, "checks": checks, "rows": rows}, file, indent=1)
            file.write("\n")
    return 0 if all(c["right"] for c in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
