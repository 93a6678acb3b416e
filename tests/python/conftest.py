"""Problems with random parameters, the reference module, and the project's error metric."""

import contextlib
import importlib.util
import math
import pathlib
import sys

import pytest
import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_model_new():
    spec = importlib.util.spec_from_file_location("model_new", ROOT / "examples/pytorch/model_new.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_new"] = module  # so that instances can be pickled
    spec.loader.exec_module(module)
    return module


ModelNew = load_model_new().ModelNew


class Reference(nn.Module):
    """What ModelNew takes the place of."""

    def __init__(self, in_features, out_features, bn_eps=1e-5, bn_momentum=0.1, scale_shape=(1,)):
        super().__init__()
        self.gemm = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features, eps=bn_eps, momentum=bn_momentum)
        self.scale = nn.Parameter(torch.ones(scale_shape))
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        return self.softmax(self.scale * self.bn(self.gemm(x)))


@contextlib.contextmanager
def matmul_precision(precision):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def randomize(model, seed=0):
    """Parameters and statistics that nothing cancels in: negative gamma, no identity."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor, mean=0.0, deviation=1.0):
        values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(mean + deviation * values)

    with torch.no_grad():
        normal(model.gemm.weight, 0, 1 / math.sqrt(model.gemm.in_features))
        normal(model.gemm.bias)
        if model.bn.affine:
            normal(model.bn.weight)
            normal(model.bn.bias)
        if model.bn.running_mean is not None:
            normal(model.bn.running_mean)
            variance = torch.rand(model.bn.running_var.shape, generator=generator, dtype=torch.float64)
            model.bn.running_var.copy_(variance + 0.5)
        normal(model.scale, 0, 1.5)
    return model


def make(in_features, out_features, dtype=torch.float32, device="cuda", kind=ModelNew, per_feature=False, seed=0, **kwargs):
    model = kind(in_features, out_features, scale_shape=(out_features,) if per_feature else (1,), **kwargs)
    return randomize(model, seed).to(device, dtype)


def data(batch, in_features, dtype=torch.float32, device="cuda", seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, in_features, generator=generator, dtype=torch.float64).to(device, dtype)


def reference_of(model, dtype=torch.float64):
    """The reference module with the model's values, as they are in its dtype, in float64."""
    out_features, in_features = model.gemm.weight.shape
    reference = Reference(in_features, out_features, model.bn.eps, model.bn.momentum, tuple(model.scale.shape))
    if not model.bn.affine or not model.bn.track_running_stats:
        reference.bn = nn.BatchNorm1d(
            out_features, model.bn.eps, model.bn.momentum, model.bn.affine, model.bn.track_running_stats
        )
    reference.load_state_dict(model.state_dict(), strict=True)
    reference.to(model.gemm.weight.device, dtype).train(model.training)
    # Parameters went through float32, which holds every value of a narrower dtype but not of float64.
    for to, of in zip(reference.state_dict().values(), model.state_dict().values()):
        to.copy_(of)
    reference.bn.training = model.bn.training
    return reference


# What sums are rounded by, with room for the order of summation and for tensor cores that truncate.
SUM_ERROR = {torch.float64: 2.0**-49, torch.float32: 2.0**-20, torch.float16: 2.0**-20, torch.bfloat16: 2.0**-20}


class Judge:
    """The true log probabilities of a model, and how far a y of it may be from them: max |dlogp|."""

    def __init__(self, model, x, sum_error=None):
        reference = reference_of(model)
        x = x.double()
        with torch.no_grad():
            z = reference.gemm(x)
            batch_statistics = reference.bn.training or reference.bn.running_mean is None
            variance = z.var(0, correction=0) if batch_statistics else reference.bn.running_var.clone()
            logits = reference.scale * reference.bn(z)
            self.log_p = torch.log_softmax(logits, 1)
            gamma = 1 if reference.bn.weight is None else reference.bn.weight
            multiplier = (reference.scale * gamma / (variance + reference.bn.eps).sqrt()).abs()
            size = (x.abs() @ reference.gemm.weight.abs().t() + z.abs()) * multiplier + logits.abs()
        unit = sum_error or SUM_ERROR[model.gemm.weight.dtype]
        self.logit_error = 2 * unit * size.max().item() if size.numel() else 0.0
        self.running = reference.bn

    def error(self, y):
        """NaN where y holds one. Probabilities that y's dtype has only as subnormal numbers do not count."""
        if torch.isnan(y).any():
            return math.nan
        counts = self.log_p >= math.log(torch.finfo(y.dtype).tiny)
        return (y.double().log() - self.log_p)[counts].abs().max().item()

    def accepts(self, y):
        return self.error(y) <= self.logit_error + torch.finfo(y.dtype).eps

    def check(self, y):
        assert self.accepts(y), f"max|dlogp| {self.error(y):.3g}, may be {self.logit_error + torch.finfo(y.dtype).eps:.3g}"
        sums = y.double().sum(1)
        assert (sums - 1).abs().max().item() <= torch.finfo(y.dtype).eps * max(8, 4 * y.shape[1] ** 0.5)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "cpu" not in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no usable CUDA device"))


def pytest_configure(config):
    config.addinivalue_line("markers", "cpu: needs no GPU")
