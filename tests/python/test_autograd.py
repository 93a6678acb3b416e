"""Gradients, and what torch.library asks of an operator."""

import pytest
import torch
from torch import nn

from conftest import ROOT, ModelNew, Reference, data, make, reference_of

op = torch.ops.masthead.linear_bn_scale_softmax if torch.cuda.is_available() else None


def tensors(dtype, requires_grad, per_feature=False, in_features=5, out_features=7):
    model = make(in_features, out_features, dtype, per_feature=per_feature)
    x = data(6, in_features, dtype).requires_grad_(requires_grad)
    trained = [x, model.gemm.weight, model.gemm.bias, model.bn.weight, model.bn.bias, model.scale]
    trained = [t.detach().requires_grad_(requires_grad) for t in trained]
    return trained, model.bn.running_mean, model.bn.running_var


@pytest.mark.parametrize("per_feature", [False, True], ids=["scalar", "per_feature"])
@pytest.mark.parametrize("training", [False, True])
def test_gradcheck(training, per_feature):
    trained, mean, var = tensors(torch.float64, True, per_feature)

    def call(x, weight, bias, gamma, beta, scale):
        if training:
            return op.training(x, weight, bias, gamma, beta, mean.clone(), var.clone(), None, scale, 1e-5, 0.1)
        return op(x, weight, bias, gamma, beta, mean, var, scale, 1e-5)

    assert torch.autograd.gradcheck(call, trained)
    assert torch.autograd.gradgradcheck(call, trained)


def test_gradcheck_scale_softmax():
    for size in (1, 5):
        x = data(6, 5, torch.float64).requires_grad_()
        scale = data(1, size, torch.float64, seed=4)[0].requires_grad_()
        assert torch.autograd.gradcheck(torch.ops.masthead.scale_softmax, (x, scale))
        assert torch.autograd.gradgradcheck(torch.ops.masthead.scale_softmax, (x, scale))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_gradients(dtype, training):
    """As close to float64 as the reference module in the same dtype is, or nearly."""
    model = make(100, 40, dtype).train(training)
    same, exact = make(100, 40, dtype, kind=Reference).train(training), reference_of(model)
    weights = data(32, 40, torch.float64, seed=5)
    x = data(32, 100, dtype)
    gradients = []
    for m, scale in ((model, 1), (same, 1), (exact, 1)):
        input_ = x.to(m.gemm.weight.dtype).detach().requires_grad_()
        # log p: gradients of about 1.
        (m(input_).clamp_min(1e-7).log() * weights.to(input_.dtype)).sum().backward()
        gradients.append({"x": input_.grad, **{name: p.grad for name, p in m.named_parameters()}})
    for name, truth in gradients[2].items():
        if name == "gemm.bias" and training:
            continue  # 0 but for rounding
        got, expected = gradients[0][name], gradients[1][name]
        assert got.dtype == dtype, name
        size = truth.abs().max().item()
        error = (got.double() - truth).abs().max().item() / size
        allowed = (expected.double() - truth).abs().max().item() / size
        assert error <= 2 * allowed + 8 * torch.finfo(dtype).eps, (name, error, allowed)


def test_gradients_only_where_asked():
    model = make(64, 40)
    model.gemm.weight.requires_grad_(False)
    model.scale.requires_grad_(False)
    model(data(8, 64)).square().sum().backward()
    assert model.gemm.weight.grad is None and model.scale.grad is None and model.bn.weight.grad is not None
    with torch.no_grad():
        assert not model(data(8, 64)).requires_grad
    with torch.inference_mode():
        assert model(data(8, 64)).is_inference()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(dtype, requires_grad):
    (x, weight, bias, gamma, beta, scale), mean, var = tensors(dtype, requires_grad, in_features=16, out_features=24)
    tracked = torch.tensor(0, device="cuda")
    # Two computations of a gradient in 16 bits need not agree to the last bit.
    tolerance = {} if dtype == torch.float32 else dict(rtol=2e-2, atol=2e-2)
    for overload, arguments in (
        (op.default, (x, weight, bias, gamma, beta, mean, var, scale, 1e-5)),
        (op.default, (x, weight, None, None, None, mean, var, None, 1e-5)),
        (op.training, (x, weight, bias, gamma, beta, mean, var, tracked, scale, 1e-5, 0.1)),
        (op.training, (x, weight, bias, gamma, beta, mean, var, tracked, scale, 1e-5, None)),
        (op.training, (x, weight, None, None, None, None, None, None, None, 1e-5, None)),
        (torch.ops.masthead.scale_softmax.default, (x, None)),
        (torch.ops.masthead.scale_softmax.default, (data(6, 24, dtype).requires_grad_(requires_grad), scale)),
    ):
        torch.library.opcheck(overload, arguments, **tolerance)


def digits():
    safetensors = pytest.importorskip("safetensors.torch")
    tensors = safetensors.load_file(ROOT / "examples/model_head/data/digits.safetensors")
    return tensors["images"].float().cuda() / 16, tensors["labels"].long().cuda()


def train_on_digits(kind, x, labels):
    """As examples/model_head/train.py trains, with the logarithm of the module's own output."""
    torch.manual_seed(0)
    model = kind(64, 10).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for _ in range(40):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            p = model(x[rows]).clamp_min(1e-12)
            nn.functional.cross_entropy(p.log(), labels[rows], label_smoothing=0.1).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def test_training_on_digits():
    x, labels = digits()
    train = slice(None, 1437)
    accuracies = {}
    for kind in (Reference, ModelNew):
        model = train_on_digits(kind, x[train], labels[train])
        with torch.no_grad():
            right = model(x).argmax(1) == labels
        accuracies[kind.__name__] = (right[train].double().mean().item(), right[1437:].double().mean().item())
    print(accuracies)
    (seen, held_out), (reference_seen, reference_held_out) = accuracies["ModelNew"], accuracies["Reference"]
    assert seen >= reference_seen - 0.005 and held_out >= reference_held_out - 0.015
    assert seen > 0.985 and held_out > 0.87
