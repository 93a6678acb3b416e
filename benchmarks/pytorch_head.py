"""Times ModelNew beside the module it replaces, in PyTorch's ways of running that, in one run.

    python3 benchmarks/pytorch_head.py --json pytorch_head.json

Needs PyTorch with CUDA and what examples/pytorch/model_new.py needs. The systems of a case (SYSTEMS below) take turns
on the same rotating sets of x and parameters, which exceed L2 three times; every output is checked against float64
before it is timed, and the exit status is 1 if one is wrong. Modes `eval` and `training` are forward passes alone,
without gradients; `step` is forward and backward in training mode, called from Python.

Before all that come the times the host takes for a call of a small problem: the whole call, and what Python and the
dispatcher take of it: the module without its operator, and the operator on meta tensors. The file is written after every
case, so that a run that is cut short leaves what it has measured; the tables come last.
"""

import argparse
import contextlib
import copy
import importlib.util
import json
import logging
import math
import pathlib
import statistics
import sys
import time

import torch
from torch import nn

from pytorch_softmax import clocks, error, make_header, microseconds, parse, print_table

PRECISIONS = {"fp32": (torch.float32, "highest"), "tf32": (torch.float32, "high"), "bf16": (torch.bfloat16, "highest"),
              "fp16": (torch.float16, "highest")}
# batch x in x out, precision, mode
LARGE = "1024x8192x8192"
CASES = [(LARGE, "bf16", "eval"), (LARGE, "bf16", "training"), ("16x8192x8192", "bf16", "eval"), (LARGE, "fp32", "eval"),
         (LARGE, "fp32", "training"), (LARGE, "tf32", "eval"), (LARGE, "tf32", "training"), (LARGE, "fp16", "eval"),
         (LARGE, "fp16", "training"), *[(LARGE, precision, "step") for precision in PRECISIONS]]
SYSTEMS = {
    "eager": "the reference module, called from Python",
    "eager_graph": "the reference module, a block of calls captured as a CUDA graph",
    "folded_graph": "Linear -> softmax with BatchNorm and scale folded into the linear layer, as a graph; eval mode alone",
    "compile": "torch.compile(the reference module, mode='max-autotune'), called from Python",
    "masthead": "ModelNew, called from Python",
    "masthead_graph": "ModelNew, a block of calls captured as a CUDA graph",
}
REFERENCES = ["eager", "folded_graph", "compile"]  # ModelNew is held against the best of these
# How many times as fast as that ModelNew must be, and which of its systems counts: the better, or the graph.
BARS = {(LARGE, "fp32", "eval"): (4.2, "better"), (LARGE, "fp32", "training"): (4.0, "better"),
        (LARGE, "tf32", "eval"): (1.20, "better"), (LARGE, "bf16", "eval"): (1.15, "better"),
        (LARGE, "bf16", "training"): (1.20, "better"), ("16x8192x8192", "bf16", "eval"): (1.10, "graph")}
HOST_BAR_US = 15  # of Python and the dispatcher, for a call without a graph


def load_model_new():
    path = pathlib.Path(__file__).resolve().parents[1] / "examples/pytorch/model_new.py"
    spec = importlib.util.spec_from_file_location("model_new", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ModelNew


class Model(nn.Module):
    """The reference."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.gemm = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features)
        self.scale = nn.Parameter(torch.ones(1))
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        return self.softmax(self.scale * self.bn(self.gemm(x)))


class Folded(nn.Module):
    """Linear -> softmax with BatchNorm and scale in the linear layer's parameters."""

    def __init__(self, model):
        super().__init__()
        bn, gemm = model.bn, model.gemm
        multiplier = model.scale.double() * bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
        shift = model.scale.double() * bn.bias.double()
        self.weight = (gemm.weight.double() * multiplier[:, None]).to(gemm.weight.dtype)
        self.bias = ((gemm.bias.double() - bn.running_mean.double()) * multiplier + shift).to(gemm.weight.dtype)

    def forward(self, x):
        return torch.softmax(nn.functional.linear(x, self.weight, self.bias), dim=1)


def randomized(model):
    """Statistics and parameters that nothing cancels in. Probabilities stay in the range of 16-bit numbers."""
    with torch.no_grad():
        model.bn.weight.normal_(1, 0.3)
        model.bn.bias.normal_(0, 0.3)
        model.bn.running_mean.normal_(0, 0.1)
        model.bn.running_var.uniform_(0.2, 0.5)  # x is normal, the weight uniform in +-1/sqrt(in): 1/3
        model.scale.fill_(0.75)
    return model


class Rotation:
    """Sets of x and modules whose weights exceed L2 three times, and a tensor to read between single calls."""

    def __init__(self, batch, in_features, out_features, dtype, training, model_new):
        size = max(3 * torch.cuda.get_device_properties(0).L2_cache_size, 256 << 20)
        count = max(2, math.ceil(size / (out_features * in_features * dtype.itemsize)))
        self.x = [torch.randn(batch, in_features, device="cuda").to(dtype) for _ in range(count)]
        self.models, self.folded, self.new, self.new_graph = [], [], [], []
        for _ in range(count):
            model = randomized(Model(in_features, out_features).cuda()).to(dtype).train(training)
            new = model_new(in_features, out_features).to("cuda", dtype).train(training)
            new.load_state_dict(model.state_dict())
            self.models.append(model)
            self.new.append(new)
            # A graph of training mode may change its weight: calls outside it would pack the weight every time.
            self.new_graph.append(copy.deepcopy(new) if training else new)
            if not training:
                self.folded.append(Folded(model))
        self.other = torch.randn(size // 4, device="cuda")
        self.sum = torch.empty((), device="cuda")

    def sweep(self):
        torch.sum(self.other, dim=0, out=self.sum)


class Block:
    """A block of calls on rotating sets. `graph`: captured once and replayed; else the host launches each call."""

    def __init__(self, system, rotation, block_us, graph):
        sets = range(len(rotation.x))
        for _ in range(3):
            warm = microseconds([lambda i=i: system(i) for i in sets]) / len(sets)
        self.rotation, self.system, self.graph = rotation, system, None
        self.calls = min(1000, max(4, math.ceil(block_us / warm)))
        if graph:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream()):
                for i in range(self.calls):
                    system(i % len(sets))

    def time(self):
        """Microseconds per call. Sweeps keep the device busy while the host begins."""
        for _ in range(8):
            self.rotation.sweep()
        if self.graph:
            return microseconds([self.graph.replay]) / self.calls
        sets = len(self.rotation.x)
        return microseconds([lambda i=i: self.system(i % sets) for i in range(self.calls)]) / self.calls


def log_probabilities(model, x):
    """In float64, every row: training mode needs them all. Leaves the model as it is."""
    exact = Model(model.gemm.in_features, model.gemm.out_features).to("cuda", torch.float64)
    exact.load_state_dict(model.state_dict())
    exact.train(model.training)
    return torch.log_softmax(exact.scale * exact.bn(exact.gemm(x.double())), dim=1)


def check(system, rotation, precision, is_masthead):
    """Runs the system on set 0 and returns its error and whether it is right."""
    dtype, _ = PRECISIONS[precision]
    log_p = log_probabilities(rotation.models[0], rotation.x[0])
    poison = torch.full(log_p.shape, float("nan"), device="cuda", dtype=dtype)
    del poison  # the allocator hands the same memory out again
    y = system(0)
    # Logits are a few units. PyTorch rounds them to the dtype up to three times, the library does not.
    epsilon = torch.finfo(dtype).eps
    tolerance = {"fp32": 1e-4, "tf32": 2e-2}.get(precision, epsilon + (1e-3 if is_masthead else 32 * epsilon))
    worst = error(y, log_p)
    return worst, worst <= tolerance


def make_systems(rotation, names, mode):
    if mode == "step":
        modules = {"eager": rotation.models, "masthead": rotation.new}
        gradient = torch.randn(rotation.x[0].shape[0], rotation.models[0].gemm.out_features, device="cuda")
        gradient = gradient.to(rotation.x[0].dtype)

        def step(module, x):
            module.zero_grad()
            with torch.enable_grad():
                y = module(x)
                y.backward(gradient)
            return y.detach()

        return {name: (lambda i, of=modules[name]: step(of[i], rotation.x[i])) for name in names if name in modules}
    training = mode == "training"
    modules = {"eager": rotation.models, "eager_graph": rotation.models, "masthead": rotation.new,
               "masthead_graph": rotation.new_graph}
    if not training:
        modules["folded_graph"] = rotation.folded
    if "compile" in names:
        torch._dynamo.reset()
        torch._logging.set_logs(inductor=logging.CRITICAL)  # candidates that do not fit are no news
        # Parameters are inputs of the compiled code: every set runs the same.
        modules["compile"] = [torch.compile(m, mode="max-autotune", dynamic=False) for m in rotation.models]
    return {name: (lambda i, of=modules[name]: of[i](rotation.x[i])) for name in names if name in modules}


def measure(systems, timing, repetitions, block_us, rotation):
    blocks = {}
    if timing == "back_to_back":
        blocks = {name: Block(system, rotation, block_us, name.endswith("_graph")) for name, system in systems.items()}
    graphs = {}
    if timing == "single":
        for name, system in systems.items():
            for i in range(len(rotation.x)):
                system(i)
            if name.endswith("_graph"):
                graphs[name] = []
                for i in range(len(rotation.x)):
                    graphs[name].append(torch.cuda.CUDAGraph())
                    with torch.cuda.graph(graphs[name][-1], stream=torch.cuda.current_stream()):
                        system(i)
    samples = {name: [] for name in systems}
    names = list(systems)
    for round_ in range(repetitions + 1):  # the first is thrown away
        for turn in range(len(names)):
            name = names[(turn + round_) % len(names)]
            if timing == "back_to_back":
                us = blocks[name].time()
            else:
                i = round_ % len(rotation.x)
                for _ in range(4):
                    rotation.sweep()
                us = microseconds([graphs[name][i].replay if name in graphs else lambda: systems[name](i)])
            if round_ > 0:
                samples[name].append(us)
    return samples


def operator_call(model, x):
    """What ModelNew's forward ends in."""
    op, bn = torch.ops.masthead.linear_bn_scale_softmax, model.bn
    p = (x, model.gemm.weight, model.gemm.bias, bn.weight, bn.bias, bn.running_mean, bn.running_var)
    if model.training:
        return lambda: op.training(*p, bn.num_batches_tracked, model.scale, bn.eps, bn.momentum)
    return lambda: op.default(*p, model.scale, bn.eps)


@contextlib.contextmanager
def nothing_in_place_of_the_operator():
    class Nothing:
        default = training = staticmethod(lambda *arguments: None)

    operators, operator = torch.ops.masthead, torch.ops.masthead.linear_bn_scale_softmax
    operators.linear_bn_scale_softmax = Nothing
    try:
        yield
    finally:
        operators.linear_bn_scale_softmax = operator


def host_us(calls):
    """Microseconds of the host for each of the calls, which take turns: medians over rounds of 200."""
    samples = {name: [] for name in calls}
    for _ in range(30):
        for name, call in calls.items():
            with nothing_in_place_of_the_operator() if name == "module" else contextlib.nullcontext():
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(200):
                    call()
                samples[name].append((time.perf_counter() - start) / 200 * 1e6)
    return {name: statistics.median(us[10:]) for name, us in samples.items()}


def host_times(model_new):
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for mode in ("eval", "training", "training, gradients"):
            new, meta, reference = (kind(64, 64).to(device, dtype).train(mode != "eval")
                                    for kind, device in ((model_new, "cuda"), (model_new, "meta"), (Model, "cuda")))
            x, x_meta = (torch.ones(16, 64, device=device, dtype=dtype) for device in ("cuda", "meta"))
            with torch.set_grad_enabled("gradients" in mode):
                us = host_us({"reference": lambda: reference(x), "masthead": lambda: new(x),
                              "operator": operator_call(new, x), "meta_operator": operator_call(meta, x_meta),
                              "module": lambda: new(x)})
            rows.append({"dtype": str(dtype).split(".")[1], "mode": mode, **us,
                         "python_and_dispatcher": us["module"] + us["meta_operator"]})
    return rows


def print_host(rows):
    print(f"host us per call of 16x64x64; Python and dispatcher (the module without its operator + that on meta tensors) must be "
          f"below {HOST_BAR_US}")
    print("| dtype | mode | reference | ModelNew | its operator | module | meta operator | Python and dispatcher |")
    for r in rows:
        names = ("reference", "masthead", "operator", "module", "meta_operator", "python_and_dispatcher")
        print("| " + " | ".join([r["dtype"], r["mode"], *[f"{r[name]:.1f}" for name in names]]) + " |")


def print_bars(rows):
    """How many times as fast as the best of REFERENCES. A case without one of those says which is missing."""
    cases = {}
    for r in rows:
        cases.setdefault((r["problem"], r["precision"], r["mode"], r["timing"]), {})[r["system"]] = r
    print("medians in us [least, most] | times as fast as the best of " + ", ".join(REFERENCES))
    print("| problem | precision | mode | timing | best of PyTorch | us | ModelNew called | as a graph | times as fast | must | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")

    def figures(row):
        return "" if row is None else f"{row['us_median']:.1f} [{row['us_min']:.1f}, {row['us_max']:.1f}]"

    for case, of in cases.items():
        references = {name: of[name]["us_median"] for name in REFERENCES if name in of}
        if not references or "masthead" not in of:
            continue
        best = min(references, key=references.get)
        must, which = BARS.get(case[:3], (None, "better"))
        own = [of[name]["us_median"] for name in ("masthead_graph", "masthead") if name in of]
        times = references[best] / (own[0] if which == "graph" else min(own))
        missing = [n for n in REFERENCES if n not in of and not (n == "folded_graph" and case[2] != "eval")]
        verdict = "" if must is None else "met" if times >= must else "MISSED"
        verdict += f" (without {', '.join(missing)})" if missing and case[2] != "step" else ""
        print("| " + " | ".join([*case, best, figures(of[best]), figures(of["masthead"]), figures(of.get("masthead_graph")),
                                 f"{times:.3f}", "" if must is None else f"{must:.2f}", verdict]) + " |", flush=True)


def measure_case(case, systems, rotation, options, checks, rows):
    precision = case["precision"]
    for name, system in systems.items():
        start = time.perf_counter()
        worst, right = check(system, rotation, precision, name.startswith("masthead"))
        checks.append({**case, "system": name, "metric": "max|dlogp|", "error": worst, "right": right})
        print(f"check {' '.join(case.values())} {name}: max|dlogp| {worst:.3g}{'' if right else '  WRONG'} "
              f"({time.perf_counter() - start:.1f} s)", flush=True)
    for timing in options.timings:
        samples = measure(systems, timing, options.repetitions, options.block_us, rotation)
        baseline = statistics.median(next(iter(samples.values())))
        for name, us in samples.items():
            rows.append({**case, "timing": timing, "system": name, "us_median": statistics.median(us), "us_min": min(us),
                         "us_max": max(us), "ratio": statistics.median(us) / baseline})


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", action="append", help="batch x in x out; repeatable")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="repeatable")
    parser.add_argument("--mode", action="append", choices=["eval", "training", "step"], help="repeatable")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="of PyTorch's; repeatable")
    parser.add_argument("--show", help="print the tables of this file of results, and measure nothing")
    return parse(parser, timing="back_to_back", repetitions=15)


def cases_of(options):
    cases = CASES
    if options.problem:
        modes = ["eval", "training", "step"]
        cases = [(problem, precision, mode) for problem in options.problem for precision in PRECISIONS for mode in modes]
    return [(problem, precision, mode) for problem, precision, mode in cases
            if precision in (options.precision or PRECISIONS) and mode in (options.mode or mode)]


def main():
    options = parse_options()
    if options.show:
        with open(options.show) as file:
            results = json.load(file)
        print_host(results["host_us"])
        print_bars(results["rows"])
        return 0
    if not torch.cuda.is_available():
        print("pytorch_head: no usable CUDA device", file=sys.stderr)
        return 77

    start = time.perf_counter()
    model_new = load_model_new()
    print(f"operators built or found, and loaded, in {time.perf_counter() - start:.1f} s", flush=True)
    names = [n for n in SYSTEMS if n.startswith("masthead") or n in (options.system or SYSTEMS)]
    header = make_header("pytorch_head", options, systems={name: SYSTEMS[name] for name in names})
    checks, rows = [], []

    def write(host):
        header["clocks_after"] = clocks()
        if options.json:
            with open(options.json, "w") as file:
                json.dump({"header": header, "checks": checks, "host_us": host, "rows": rows}, file, indent=1)
                file.write("\n")

    torch.manual_seed(1)
    with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
        host = host_times(model_new)
        print_host(host)
        for problem, precision, mode in cases_of(options):
            dtype, matmul_precision = PRECISIONS[precision]
            torch.set_float32_matmul_precision(matmul_precision)
            rotation = Rotation(*map(int, problem.split("x")), dtype, mode != "eval", model_new)
            systems = make_systems(rotation, names, mode)
            measured = len(rows)
            measure_case({"problem": problem, "precision": precision, "mode": mode}, systems, rotation, options, checks,
                         rows)
            print_bars(rows[measured:])
            write(host)
            del rotation, systems
            torch.cuda.empty_cache()
    print_table(rows)
    print_bars(rows)
    return 0 if all(c["right"] for c in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
