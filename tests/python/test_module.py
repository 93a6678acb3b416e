"""The module: construction, state, dtypes, streams, graphs, compilers."""

import builtins
import copy
import io
import itertools
import pickle
import sys
import threading

import pytest
import torch
from torch import nn

from conftest import ROOT, Judge, ModelNew, Reference, data, make, matmul_precision

FORBIDDEN = ("batch_size", "in_features", "out_features", "get_inputs", "get_init_inputs", "Model")


@pytest.mark.cpu
def test_the_same_seed_gives_the_same_weights():
    for arguments in ((20, 10), (20, 10, 1e-3, 0.3, (10,))):
        states = []
        for kind in (Reference, ModelNew):
            torch.manual_seed(7)
            model = kind(*arguments)
            states.append((model.state_dict(), torch.rand(3)))
        (expected, next_expected), (got, next_got) = states
        assert list(got) == list(expected)
        assert all(torch.equal(got[name], expected[name]) for name in expected)
        assert torch.equal(next_got, next_expected)
        assert [name for name, _ in model.named_children()] == ["gemm", "bn", "softmax"]


def execute(**globals_):
    """The text of model_new.py, as somebody does who has no file of it."""
    globals_ = {"__name__": "somebody", "__builtins__": builtins, **globals_}
    exec(compile((ROOT / "examples/pytorch/model_new.py").read_text(), "<string>", "exec"), globals_)
    return globals_


@pytest.mark.cpu
@pytest.mark.parametrize("file", [{}, {"__file__": "/nowhere/else.py"}, {"__file__": None}], ids=str)
def test_runs_in_the_globals_of_another_module(file):
    globals_ = execute(**file)
    assert not [name for name in FORBIDDEN if name in globals_]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = globals_["ModelNew"](30, 20).to(device).eval()
    x = data(5, 30, device=device)
    Judge(model, x).check(model(x).detach())


@pytest.mark.cpu
@pytest.mark.parametrize("named_by", ["environment", "file", "working directory", "sys.path", "nothing"])
def test_the_repository_is_found(named_by, monkeypatch, tmp_path):
    find = execute(__file__=str(ROOT / "tests/python/harness.py") if named_by == "file" else "/nowhere/else.py")[
        "_masthead_folder"
    ]
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks") if named_by == "sys.path" else str(tmp_path)])
    monkeypatch.chdir(ROOT / "examples" if named_by == "working directory" else tmp_path)
    if named_by == "environment":
        monkeypatch.setenv("MASTHEAD_ROOT", str(ROOT))
    else:
        monkeypatch.delenv("MASTHEAD_ROOT", raising=False)
    if named_by == "nothing":
        with pytest.raises(RuntimeError, match="MASTHEAD_ROOT"):
            find()
    else:
        assert find() == ROOT


@pytest.mark.cpu
@pytest.mark.parametrize("training", [False, True])
def test_cpu_tensors_are_left_to_torch(training):
    model = make(30, 20, device="cpu").train(training)
    reference = make(30, 20, device="cpu", kind=Reference).train(training)
    x = data(5, 30, device="cpu")
    assert torch.equal(model(x), reference(x))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), reference.state_dict().values()))


def test_operators_on_cpu_tensors():
    for device in ("cpu", "cuda"):
        model = make(30, 20, device=device).eval()
        x = data(5, 30, device=device)
        got = torch.ops.masthead.linear_bn_scale_softmax(
            x, model.gemm.weight, model.gemm.bias, model.bn.weight, model.bn.bias, model.bn.running_mean,
            model.bn.running_var, model.scale, model.bn.eps)
        Judge(model, x).check(got.detach())
    torch.testing.assert_close(torch.ops.masthead.scale_softmax(x.cpu(), model.scale.cpu()).cuda(),
                               torch.ops.masthead.scale_softmax(x, model.scale))


@pytest.mark.parametrize("training", [False, True])
def test_state_dict_both_ways(training):
    model, reference = make(100, 40, seed=1).train(training), make(100, 40, kind=Reference, seed=2).train(training)
    x = data(16, 100)
    model(x), reference(x)
    reference.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(model(x), reference(x), rtol=1e-5, atol=0)
    reference.load_state_dict(make(100, 40, seed=3).state_dict())
    model.load_state_dict(reference.state_dict(), strict=True)
    torch.testing.assert_close(model(x), reference(x), rtol=1e-5, atol=0)


def test_the_module_keeps_nothing():
    model = make(100, 40, torch.bfloat16)
    attributes = set(model.__dict__)
    model(data(16, 100, torch.bfloat16)).float().sum().backward()
    assert set(model.__dict__) == attributes


def halve_in_place(model, x):
    with torch.no_grad():
        model.gemm.weight.mul_(0.5)
    return model


seeds = itertools.count(9)


def load_other(model, x):
    other = make(model.gemm.in_features, model.gemm.out_features, model.gemm.weight.dtype, seed=next(seeds))
    model.load_state_dict(other.state_dict())
    return model


def load_assigned(model, x):
    other = make(model.gemm.in_features, model.gemm.out_features, model.gemm.weight.dtype, seed=next(seeds))
    model.load_state_dict(other.state_dict(), assign=True)
    return model


def step(model, x):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    (model(x).float() ** 2).sum().backward()
    optimizer.step()
    return model


def step_fused(model, x):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    (model(x).float() ** 2).sum().backward()
    optimizer.step()
    return model


def step_foreach(model, x):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, foreach=True)
    (model(x).float() ** 2).sum().backward()
    optimizer.step()
    return model


def step_compiled(model, x):
    """Code that torch.compile made of an optimizer writes to parameters by kernels of its own."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    (model(x).float() ** 2).sum().backward()
    torch.compile(optimizer.step)()
    return model


def halve_compiled(model, x):
    @torch.compile
    def halve(weight):
        weight.mul_(0.5)

    with torch.no_grad():
        halve(model.gemm.weight)
    return model


def other_dtype(model, x):
    return model.to(torch.float16 if x.dtype == torch.bfloat16 else torch.bfloat16).to(x.dtype)


def to_cpu_and_back(model, x):
    model.cpu()
    with torch.no_grad():
        model.gemm.weight.mul_(0.5)
    return model.cuda()


def other_data(model, x):
    model.gemm.weight.data = model.gemm.weight.data * 0.5
    return model


def other_parameter(model, x):
    model.gemm.weight = nn.Parameter(model.gemm.weight.detach() * 0.5)
    return model


def write_unseen(model, x):
    """As a kernel of somebody else's does, or a collective of torch.distributed."""
    with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(model.gemm.weight):
        model.gemm.weight.mul_(0.5)
    torch.ops.masthead.weights_changed()
    return model


def copied(model, x):
    return halve_in_place(copy.deepcopy(model), x)


def pickled(model, x):
    return halve_in_place(pickle.loads(pickle.dumps(model)), x)


def saved(model, x):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return halve_in_place(torch.load(buffer, weights_only=False), x)


CHANGES = [halve_in_place, load_other, load_assigned, step, step_foreach, step_fused, step_compiled, halve_compiled,
           other_dtype, to_cpu_and_back, other_data, other_parameter, write_unseen, copied, pickled, saved]


# 100 columns of 16 bits are copied and padded, as packed weights are made: something could go stale.
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changes_of_the_weight_are_seen(change, dtype):
    model = make(100, 40, dtype).eval()
    x = data(16, 100, dtype)
    for _ in range(2):
        before = model
        old_judge = Judge(model, x)
        old_judge.check(model(x).detach())
        model = change(model, x)
        judge = Judge(model, x)
        judge.check(model(x).detach())
        if change is not other_dtype:
            assert not old_judge.accepts(model(x).detach())
        if model is not before:
            old_judge.check(before(x).detach())


def test_other_parameters_for_one_call():
    """torch.func.functional_call puts tensors in the place of parameters, and takes them away again."""
    x = data(16, 100)
    model, other = make(100, 40).eval(), make(100, 40, seed=3).eval()
    values = {name: value.detach() for name, value in other.state_dict().items()}
    with torch.no_grad():
        for _ in range(2):
            Judge(model, x).check(model(x))
            Judge(other, x).check(torch.func.functional_call(model, values, (x,)))


def test_inference_tensors():
    """Have no version counter: their changes are seen all the same."""
    x = data(16, 100)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.inference_mode():
            model = make(100, 40, dtype).eval()
            for _ in range(2):
                Judge(model, x.to(dtype)).check(model(x.to(dtype)))
                model.gemm.weight.mul_(0.5)


def test_memory_that_is_used_again():
    """A new weight at the address of one that is gone, with the same version."""
    x = data(16, 100, torch.bfloat16)
    addresses = set()
    for seed in range(5):
        model = make(100, 40, torch.bfloat16, seed=seed).eval()
        addresses.add(model.gemm.weight.data_ptr())
        Judge(model, x).check(model(x).detach())
        del model
    assert len(addresses) < 5


def test_changes_on_other_streams_are_seen():
    x = data(64, 1001, torch.bfloat16)
    model = make(1001, 2000, torch.bfloat16).eval()
    model(x)
    streams = [torch.cuda.Stream() for _ in range(3)]
    for turn, stream in enumerate(streams * 3):
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.no_grad():
            torch.cuda._sleep(2_000_000)
            model.gemm.weight.add_(0.01 * (turn + 1))
            first = model(x)
        other = streams[(turn + 1) % 3]
        other.wait_stream(stream)
        with torch.cuda.stream(other), torch.no_grad():
            second = model(x)
        torch.cuda.synchronize()
        assert torch.equal(first, second)
        Judge(model, x).check(first)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_current_stream_and_no_synchronization(dtype, training):
    model = make(512, 300, dtype).train(training)
    x = data(64, 512, dtype)
    judge = Judge(model, x)
    stream = torch.cuda.Stream()
    late = torch.zeros_like(x)
    done = torch.cuda.Event()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream), torch.no_grad():
        copy.deepcopy(model)(x)  # for the allocator, and so that kernels are loaded
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream), torch.no_grad():
            torch.cuda._sleep(400_000_000)  # 0.2 s; x is there only after it
            late.copy_(x)
            y = model(late)
            done.record()
        assert not done.query()  # the call came back before its kernels ran
    finally:
        torch.cuda.set_sync_debug_mode("default")
    stream.synchronize()
    judge.check(y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("in_features", [128, 100])
def test_cuda_graph(training, dtype, in_features):
    model = make(in_features, 300, dtype).train(training)
    x = data(32, in_features, dtype)
    with torch.no_grad():
        warm = torch.cuda.Stream()
        warm.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm):
            model(x)
        torch.cuda.current_stream().wait_stream(warm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = model(x)
        for seed in range(2, 4):
            x.copy_(data(32, in_features, dtype, seed=seed))
            if training:
                model.gemm.weight.mul_(0.9)
            model.bn.weight.mul_(1.1)
            judge = Judge(model, x)
            y.fill_(float("nan"))
            tracked = int(model.bn.num_batches_tracked)
            graph.replay()
            judge.check(y)
            assert model.bn.num_batches_tracked == tracked + training
            judge = Judge(model, x)
            judge.check(model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cuda_graph_of_a_training_step(dtype):
    """Forward, backward and the optimizer in one graph: each replay sees the weight that the last one left."""
    eager = make(100, 40, dtype, kind=Reference).train()
    model = make(100, 40, dtype).train()
    x = data(32, 100, dtype)
    target = torch.randn(32, 40, device="cuda").to(dtype)
    optimizers = {m: torch.optim.SGD(m.parameters(), lr=0.1) for m in (eager, model)}

    def step(m):
        optimizers[m].zero_grad(set_to_none=False)
        y = m(x)
        (y.float() * target).sum().backward()
        optimizers[m].step()
        return y

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            step(model), step(eager)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = step(model)
    for _ in range(4):
        before = copy.deepcopy(model)
        graph.replay()
        step(eager)
        Judge(before, x).check(y.detach())
        assert not torch.equal(before.gemm.weight, model.gemm.weight)
    # An eager call afterwards sees what the graph wrote.
    judge = Judge(model, x)
    judge.check(model(x).detach())
    if dtype == torch.float32:
        torch.testing.assert_close(model.gemm.weight, eager.gemm.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_streams_side_by_side(training):
    """Kernels with a grid barrier, two at the same time: neither waits for blocks that cannot run."""
    models = [make(128, 8192, torch.bfloat16, seed=s).train(training) for s in range(3)]
    inputs = [data(1024, 128, torch.bfloat16, seed=s) for s in range(3)]
    with torch.no_grad():
        expected = [model(x) for model, x in zip(models, inputs)]
        streams = [torch.cuda.Stream() for _ in models]
        torch.cuda.synchronize()
        for _ in range(20):
            outputs = []
            for stream, model, x in zip(streams, models, inputs):
                with torch.cuda.stream(stream):
                    outputs.append(model(x))
        torch.cuda.synchronize()
    assert all(torch.equal(y, of) for y, of in zip(outputs, expected))


def test_threads_share_a_module():
    model = make(256, 300, torch.bfloat16).eval()
    inputs = [data(32, 256, torch.bfloat16, seed=s) for s in range(4)]
    with torch.no_grad():
        expected = [model(x) for x in inputs]
    wrong = []

    def work(i):
        with torch.cuda.stream(torch.cuda.Stream()), torch.no_grad():
            for _ in range(50):
                if not torch.equal(model(inputs[i]), expected[i]):
                    wrong.append(i)

    torch.cuda.synchronize()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not wrong


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("per_feature", [False, True], ids=["scalar", "per_feature"])
@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(cast, per_feature, training):
    model = make(128, 60, per_feature=per_feature).train(training)
    reference = make(128, 60, kind=Reference, per_feature=per_feature).train(training)
    x = data(32, 128)
    outputs = []
    for m in (model, reference):
        with torch.autocast("cuda", cast):
            y = m(x)
        (y ** 2).sum().backward()
        outputs.append(y)
    assert outputs[0].dtype == outputs[1].dtype == torch.float32
    for (name, a), b in zip(model.named_parameters(), reference.parameters()):
        assert a.grad.dtype == b.grad.dtype, name
    # The library rounds x and the weight alone.
    rounded = make(128, 60, per_feature=per_feature).train(training)
    with torch.no_grad():
        rounded.gemm.weight.copy_(rounded.gemm.weight.to(cast))
        rounded.gemm.bias.copy_(rounded.gemm.bias.to(cast))
    Judge(rounded, x.to(cast).float()).check(outputs[0].detach())
    with torch.autocast("cuda", cast):
        assert torch.ops.masthead.scale_softmax(x[:, :60].to(cast), model.scale).dtype == torch.float32


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mixed", ["bn", "scale", "both", "scale64"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_mixed_dtypes_give_the_dtype_of_the_reference(dtype, mixed, training):
    outputs = []
    x = data(16, 64, dtype)
    for kind in (Reference, ModelNew):
        model = make(64, 40, dtype, kind=kind).train(training)
        if mixed in ("bn", "both"):
            model.bn.float()
        if mixed in ("scale", "both"):
            model.scale.data = model.scale.data.float()
        if mixed == "scale64":
            model.scale.data = model.scale.data.double()
        judge = Judge(model, x)
        outputs.append(model(x).detach())
    assert outputs[0].dtype == outputs[1].dtype
    if mixed == "scale64":  # no such head in the library
        torch.testing.assert_close(*outputs)
    else:
        judge.check(outputs[1])


def test_a_member_with_hooks_is_called():
    model = make(64, 40).eval()
    seen = []
    handle = model.bn.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    x = data(8, 64)
    Judge(model, x).check(model(x).detach())
    assert seen == [(8, 40)]
    handle.remove()
    model(x)
    assert len(seen) == 1
    nn.utils.parametrizations.weight_norm(model.gemm)
    torch.testing.assert_close(model(x), model.reference(x))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(make(64, 40)).eval()
    assert type(converted.bn) is nn.SyncBatchNorm
    torch.testing.assert_close(converted(x), make(64, 40).eval()(x), rtol=1e-5, atol=0)


def test_leading_dimensions_are_left_to_torch():
    model, reference = make(64, 40).eval(), make(64, 40, kind=Reference).eval()
    with pytest.raises((RuntimeError, ValueError)) as expected:
        reference(data(8, 64)[0])
    with pytest.raises(type(expected.value)):
        model(data(8, 64)[0])


@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
@pytest.mark.parametrize("training", [False, True])
def test_compile(training, mode):
    torch._dynamo.reset()
    model = make(64, 40).train(training)
    eager = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, mode=mode)
    for seed in range(3):
        x = data(16, 64, seed=seed)
        for m in (model, eager):
            m.zero_grad()
        y, expected = compiled(x).clone(), eager(x)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=0)
        (y ** 2).sum().backward()
        (expected ** 2).sum().backward()
        for (name, a), b in zip(model.named_parameters(), eager.parameters()):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)
        for a, b in zip(model.state_dict().values(), eager.state_dict().values()):
            torch.testing.assert_close(a, b)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x).clone(), eager(x), rtol=1e-5, atol=0)
            # Weights change between calls of compiled code, too.
            for m in (model, eager):
                m.gemm.weight.mul_(0.9)


@pytest.mark.parametrize("training", [False, True])
def test_compile_under_autocast(training):
    torch._dynamo.reset()
    model = make(64, 40).train(training)
    eager = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True)
    x = data(16, 64)
    with torch.autocast("cuda", torch.bfloat16):
        y, expected = compiled(x), eager(x)
    assert y.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
def test_compiled_code_follows_the_matmul_precision(mode):
    torch._dynamo.reset()
    model = make(128, 60).eval()
    compiled = torch.compile(model, fullgraph=True, mode=mode)
    x = data(32, 128)
    outputs = []
    with torch.no_grad():
        for precision in ("highest", "high", "highest", "high"):
            with matmul_precision(precision):
                for _ in range(3):
                    outputs.append(compiled(x).clone())
                    assert torch.equal(outputs[-1], model(x)), precision
    assert not torch.equal(outputs[0], outputs[-1])


@pytest.mark.parametrize("training", [False, True])
def test_a_graph_keeps_the_matmul_precision(training):
    model = make(100, 60).train(training)
    x = data(32, 100)
    exact = Judge(model, x)
    with torch.no_grad(), matmul_precision("high"):
        model(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = model(x)
    with matmul_precision("highest"):
        graph.replay()
        Judge(model, x, 2.0**-12).check(y)
        assert not exact.accepts(y) and exact.accepts(model(x).detach())


@pytest.mark.parametrize("training", [False, True])
def test_export(training):
    model = make(64, 40).train(training)
    x = data(16, 64)
    exported = torch.export.export(copy.deepcopy(model), (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), model(x), rtol=1e-5, atol=0)


def test_compile_behind_other_layers():
    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), make(64, 40, device="cpu")).cuda().eval()
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for batch in (3, 16, 50):
            x = data(batch, 32)
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=1e-7)


def test_other_devices():
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    model = make(64, 40, torch.bfloat16, device="cuda:1").eval()
    x = data(8, 64, torch.bfloat16, device="cuda:1")
    assert torch.cuda.current_device() == 0
    y = model(x)
    assert y.device == x.device and torch.cuda.current_device() == 0
    Judge(model, x).check(y.detach())
