"""Trains the head of this example on the handwritten digits, in PyTorch, and writes what the example reads.

    pip install torch safetensors numpy        (and scikit-learn, only where digits.safetensors is absent)
    python3 train.py [--data DIR] [--out DIR]

Reads DIR/digits.safetensors, which is first made from scikit-learn's load_digits() where it is absent, and
writes
  head.safetensors      the trained state_dict in float32; metadata: bn.eps
  expected.safetensors  probabilities (1797, 10) of every digit: eval mode in float64, from the float32
                        parameters; metadata: train_rows, how many of the first digits were trained on

Runs on one CPU thread from a fixed seed, so the same PyTorch on the same kind of CPU writes the same bytes.
(That is also why no file has two metadata entries: safetensors writes them in no fixed order.)
"""

import argparse
import pathlib

import safetensors.torch
import torch
from torch import nn

TRAIN_ROWS = 1437  # the digits come in the writers' order: the last 360 are mostly by hands not trained on
EPOCHS = 40
BATCH = 64


class Model(nn.Module):
    """The reference module: softmax(scale * BatchNorm1d(x W^T + b), dim=1)."""

    def __init__(self, in_features, out_features, bn_eps=1e-5, bn_momentum=0.1, scale_shape=(1,)):
        super().__init__()
        self.gemm = nn.Linear(in_features, out_features)
        self.bn = nn.BatchNorm1d(out_features, eps=bn_eps, momentum=bn_momentum)
        self.scale = nn.Parameter(torch.ones(scale_shape))
        self.softmax = nn.Softmax(dim=1)

    def logits(self, x):
        return self.scale * self.bn(self.gemm(x))

    def forward(self, x):
        return self.softmax(self.logits(x))


def extract_digits(path):
    """Writes scikit-learn's copy of the UCI digits: images (1797, 64), pixels 0 to 16, and labels (1797)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    safetensors.torch.save_file(
        {
            "images": torch.from_numpy(digits.data).to(torch.uint8),
            "labels": torch.from_numpy(digits.target).to(torch.uint8),
        },
        path,
        {"source": "UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0"},
    )


def train(x, labels):
    model = Model(x.shape[1], 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            logits = model.logits(x[rows])
            nn.functional.cross_entropy(logits, labels[rows], label_smoothing=0.1).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def main():
    here = pathlib.Path(__file__).parent / "data"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, default=here, help="folder of digits.safetensors")
    parser.add_argument("--out", type=pathlib.Path, default=here, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    digits = options.data / "digits.safetensors"
    if not digits.exists():
        options.data.mkdir(parents=True, exist_ok=True)
        extract_digits(digits)
    tensors = safetensors.torch.load_file(digits)
    x, labels = tensors["images"].float() / 16, tensors["labels"].long()

    model = train(x[:TRAIN_ROWS], labels[:TRAIN_ROWS])
    safetensors.torch.save_file(
        model.state_dict(), options.out / "head.safetensors", {"bn.eps": repr(model.bn.eps)}
    )

    with torch.no_grad():
        probabilities = model.double()(x.double())
    safetensors.torch.save_file(
        {"probabilities": probabilities},
        options.out / "expected.safetensors",
        {"train_rows": str(TRAIN_ROWS)},
    )

    print(f"scale {model.scale.item():.4f}, gamma {model.bn.weight.min():.4f} to {model.bn.weight.max():.4f}")
    for kind, rows in ("trained on", slice(None, TRAIN_ROWS)), ("held out", slice(TRAIN_ROWS, None)):
        share = (probabilities[rows].argmax(dim=1) == labels[rows]).double().mean().item()
        print(f"accuracy {share:.4f} on the {len(x[rows])} digits {kind}")


if __name__ == "__main__":
    main()
