"""Values: ModelNew against float64, in every dtype and mode."""

import copy
import math

import pytest
import torch
from torch import nn

from conftest import Judge, ModelNew, Reference, data, make, matmul_precision, reference_of

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
# 100 and 1001 columns are no multiple of what TMA reads; 1 and 7 rows are less than any tile; 16 rows of many features
# and 1024 x 8192 results have engines of their own.
SHAPES = [(1, 64, 10), (7, 100, 33), (129, 1001, 257), (64, 2048, 1000), (300, 256, 1300), (5, 1, 1), (257, 512, 8192),
          (16, 1024, 4096), (1024, 128, 8192)]


def shape_name(shape):
    return "x".join(map(str, shape))


@pytest.mark.parametrize("per_feature", [False, True], ids=["scalar", "per_feature"])
@pytest.mark.parametrize("shape", SHAPES, ids=shape_name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_eval(dtype, shape, per_feature):
    batch, in_features, out_features = shape
    model = make(in_features, out_features, dtype, per_feature=per_feature).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = data(batch, in_features, dtype)
    judge = Judge(model, x)
    y = model(x)
    assert y.dtype == dtype and y.shape == (batch, out_features) and y.is_contiguous()
    judge.check(y.detach())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("per_feature", [False, True], ids=["scalar", "per_feature"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[0] > 1], ids=shape_name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_training(dtype, shape, per_feature):
    batch, in_features, out_features = shape
    model = make(in_features, out_features, dtype, per_feature=per_feature).train()
    x = data(batch, in_features, dtype)
    judge = Judge(model, x)  # its reference ran one batch, too
    versions = [t._version for t in (model.bn.running_mean, model.bn.running_var, model.bn.num_batches_tracked)]
    y = model(x)
    judge.check(y.detach())
    check_running(model, judge.running)
    for tensor, version in zip((model.bn.running_mean, model.bn.running_var, model.bn.num_batches_tracked), versions):
        assert tensor._version > version


def check_running(model, bn):
    epsilon = torch.finfo(model.bn.running_mean.dtype).eps
    # The statistics' own rounding is of the size of a column's values, about 1, whatever is left of their mean.
    torch.testing.assert_close(model.bn.running_mean.double(), bn.running_mean, rtol=2 * epsilon, atol=max(epsilon, 1e-6))
    torch.testing.assert_close(model.bn.running_var.double(), bn.running_var, rtol=max(2 * epsilon, 1e-5), atol=0)
    assert model.bn.num_batches_tracked == bn.num_batches_tracked


def test_the_judge_rejects():
    model = make(300, 200).eval()
    x = data(50, 300)
    judge = Judge(model, x)
    y = model(x).detach()
    assert judge.accepts(y)
    assert not judge.accepts(torch.zeros_like(y))
    assert not judge.accepts(y.roll(1, 0))
    assert not judge.accepts(y.roll(1, 1))
    assert not judge.accepts(y.bfloat16().float())
    assert not judge.accepts(torch.full_like(y, math.nan))
    # A gamma that is off by a thousandth.
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        wrong.bn.weight.mul_(1.001)
    assert not judge.accepts(wrong(x).detach())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cumulative_average(dtype):
    model = make(100, 40, dtype, bn_momentum=None).train()
    reference = reference_of(model)
    for step in range(4):
        x = data(32, 100, dtype, seed=step)
        model(x)
        reference(x.double())
        # The model's statistics are rounded at each step, the reference's are not.
        epsilon = torch.finfo(dtype).eps
        tolerance = dict(rtol=max(4 * epsilon, 1e-5), atol=max(4 * epsilon, 1e-5))
        torch.testing.assert_close(model.bn.running_mean.double(), reference.bn.running_mean, **tolerance)
        torch.testing.assert_close(model.bn.running_var.double(), reference.bn.running_var, **tolerance)
        assert model.bn.num_batches_tracked == step + 1


@pytest.mark.parametrize("training", [False, True])
def test_epsilon_and_momentum(training):
    """Values that no default stands in for."""
    model = make(100, 40, bn_eps=0.3, bn_momentum=0.7).train(training)
    x = data(32, 100)
    judge = Judge(model, x)
    judge.check(model(x).detach())
    if training:
        check_running(model, judge.running)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arguments", [dict(affine=False), dict(track_running_stats=False)], ids=str)
def test_other_batch_norms(arguments, training):
    model = make(64, 50)
    model.bn = nn.BatchNorm1d(50, **arguments).cuda()
    model.train(training)
    x = data(20, 64)
    judge = Judge(model, x)
    judge.check(model(x).detach())
    if model.bn.track_running_stats and training:
        check_running(model, judge.running)


def test_frozen_statistics():
    model = make(64, 50).train()
    model.bn.eval()
    x = data(20, 64)
    before = model.bn.running_mean.clone()
    Judge(model, x).check(model(x).detach())
    assert torch.equal(model.bn.running_mean, before) and model.bn.num_batches_tracked == 0


def test_no_linear_bias():
    model = make(64, 50).eval()
    model.gemm = nn.Linear(64, 50, bias=False).cuda()
    x = data(20, 64)
    torch.testing.assert_close(model(x), model.reference(x), rtol=1e-5, atol=0)


def test_a_batch_of_one_raises_what_torch_raises():
    x = data(1, 64)
    with pytest.raises(ValueError) as expected:
        make(64, 50, kind=Reference).train()(x)
    with pytest.raises(ValueError) as got:
        make(64, 50).train()(x)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_batch(dtype, training):
    model = make(64, 50, dtype).train(training)
    y = model(data(0, 64, dtype))
    assert y.shape == (0, 50) and y.dtype == dtype


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_input_features(dtype, training):
    """x W^T is 0: every row is the softmax of the same logits."""
    reference, model = (make(8, 50, dtype, kind=kind).train(training) for kind in (Reference, ModelNew))
    for m in (reference, model):
        m.gemm.weight = nn.Parameter(m.gemm.weight[:, :0].detach())
    x = data(5, 8, dtype)[:, :0]
    torch.testing.assert_close(model(x), reference(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_inputs_with_gaps(dtype, training):
    model = make(96, 50, dtype).train(training)
    wide = data(40, 300, dtype)
    for x in (
        wide[:, 100:196],
        wide[:, 3:99],  # not aligned
        wide[:, 6:300:3][:, :96],  # columns apart
        wide[::3, :96],
        data(96, 40, dtype).t(),
        wide[:1, :96].expand(40, 96),
        wide[:, :96].flip(0),
    ):
        judge = Judge(model, x)
        judge.check(model(x).detach())


def test_weight_with_gaps():
    for dtype in (torch.float32, torch.bfloat16):
        model = make(96, 50, dtype).eval()
        x = data(40, 96, dtype)
        expected = model(x).detach()
        model.gemm.weight.data = model.gemm.weight.data.t().contiguous().t()
        torch.testing.assert_close(model(x), expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_non_finite_rows_stay_alone():
    model = make(64, 50).eval()
    x = data(6, 64)
    expected = model(x)
    bad = x.clone()
    bad[2, 3], bad[4, 5] = math.nan, math.inf
    y = model(bad)
    assert torch.equal(y[[0, 1, 3, 5]], expected[[0, 1, 3, 5]])
    assert y[[2, 4]].isnan().all()


def test_bits_are_reproducible():
    for training in (False, True):
        model = make(512, 700, torch.bfloat16).train(training)
        x = data(200, 512, torch.bfloat16)
        assert torch.equal(model(x), model(x))


# 1001 columns are no multiple of what TMA reads; 257 rows of 8192 features have a kernel of their own.
@pytest.mark.parametrize("shape", [(200, 1000, 300), (200, 1001, 300), (16, 2048, 512), (1024, 512, 8192)], ids=shape_name)
@pytest.mark.parametrize("training", [False, True])
def test_matmul_precision(training, shape):
    """Read at each call: highest is float's accuracy, high and medium tf32's, of operands rounded to nearest."""
    batch, in_features, out_features = shape
    model = make(in_features, out_features).train(training)
    x = data(batch, in_features)
    exact, rounded = Judge(model, x), Judge(model, x, 2.0**-12)
    for precision in ("high", "highest", "medium", "highest"):
        with matmul_precision(precision):
            y = model(x).detach()
        rounded.check(y)
        assert exact.accepts(y) == (precision == "highest"), precision


@pytest.mark.parametrize("training", [False, True])
def test_gradients_in_tf32(training):
    model, exact = make(100, 40).train(training), make(100, 40).train(training)
    x = data(32, 100)
    weights = data(32, 40, seed=5)
    for m, precision in ((model, "high"), (exact, "highest")):
        with matmul_precision(precision):
            (m(x).clamp_min(1e-7).log() * weights).sum().backward()
    for (name, a), b in zip(model.named_parameters(), exact.parameters()):
        if name != "gemm.bias" or not training:  # 0 but for rounding
            assert (a.grad - b.grad).abs().max() <= 0.02 * b.grad.abs().max(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scale_softmax(dtype):
    for columns, per_feature in ((10, False), (1000, True), (1003, False), (70000, False)):
        x = data(9, columns, dtype)
        scale = data(1, columns if per_feature else 1, dtype, seed=3)[0]
        y = torch.ops.masthead.scale_softmax(x, scale)
        expected = torch.log_softmax(scale.double() * x.double(), 1)
        counts = expected >= math.log(torch.finfo(dtype).tiny)
        assert y.dtype == dtype
        error = (y.double().log() - expected)[counts].abs().max().item()
        assert error <= torch.finfo(dtype).eps + (1e-13 if dtype == torch.float64 else 2e-5), (columns, error)
    torch.testing.assert_close(torch.ops.masthead.scale_softmax(x[:, ::2]), torch.softmax(x[:, ::2], 1))
    assert torch.ops.masthead.scale_softmax(x[:0]).shape == (0, 70000)
    if dtype in (torch.float16, torch.bfloat16):
        assert torch.ops.masthead.scale_softmax(x, dtype=torch.float32).dtype == torch.float32


def test_errors_name_the_argument():
    op = torch.ops.masthead.linear_bn_scale_softmax
    model = make(64, 50).eval()
    p = [model.gemm.weight, model.gemm.bias, model.bn.weight, model.bn.bias, model.bn.running_mean, model.bn.running_var]
    x = data(8, 64)
    with torch.no_grad():
        for arguments, words in (
            ([x[0], *p, model.scale], "x must have 2 dimensions"),
            ([x[:, :60], *p, model.scale], "x has 60 columns"),
            ([x.half(), *p, model.scale], "weight is Float, x is Half"),
            ([x, *p[:5], p[5][:49], model.scale], "running_var.size = 49"),
            ([x, *p, model.scale.cpu()], "scale is on cpu"),
            ([x, *p, data(1, 7)[0]], "scale.size = 7"),
        ):
            with pytest.raises(RuntimeError, match=words.replace(".", r"\.")):
                op(*arguments, 1e-5)
        with pytest.raises(RuntimeError, match="Expected more than 1 value per channel"):
            op.training(x[:1], *p, None, model.scale, 1e-5, 0.1)
    judge = Judge(model, x)
    judge.check(model(x).detach())  # and nothing is left broken
