"""Trains the example model: a small CNN on scikit-learn's handwritten digits, exported to `examples/models/`.

    python examples/train_digits.py        # needs the extras `pytorch` and `dev`; about a minute on one core

It writes `digits_cnn.onnx` (input "image": float32 (1, 1, 8, 8) in 0..1, output "logits": (1, 10)) and
`digits_test.npz` (the held-out fifth of the data: "images", "labels"). Both are kept in the repository, so the demo and
the tests need neither torch nor a training run. The network has one of each kind of kernel that convolutional networks
are made of: plain, depthwise and pointwise convolutions, a residual sum, pools, a dense layer.
"""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

MODELS = Path(__file__).resolve().parent / "models"
SEED = 7
EPOCHS = 60
BATCH = 64
LEAST_ACCURACY = 0.98


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, H, W) -> the same shape."""
        return torch.relu(x + self.layers(x))


class DigitsCNN(nn.Module):
    """Stem, depthwise separable block, pool, residual block, global pool, dense layer: some 50,000 parameters."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, 48, 1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.MaxPool2d(2),
            Residual(48),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(48, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, 8, 8) in 0..1 -> (N, classes)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(image), 1))
        return logits


def load_split() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, held-out images and labels; four fifths and one fifth, every class in proportion."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target.astype(np.int64), test_size=0.2, stratify=digits.target, random_state=SEED
    )
    return tuple(torch.from_numpy(array) for array in (train_x, train_y, test_x, test_y))


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image moved by up to one pixel in each direction: what the few training images lack."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    moves = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, moves, strict=True)])


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """AdamW with a one-cycle learning rate, in place; leaves `model` in evaluation mode."""
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps)
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for start in range(0, len(images) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            loss = loss_function(model(shifted(images[batch], generator)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * BATCH
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(images):.4f}", flush=True)
    model.eval()


def without_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the exporter's notes on where in whose source each node came from; the names of nodes stay."""
    graph = model.graph
    for holder in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    return model


def export(model: nn.Module, path: Path) -> None:
    """`model` for one image, as one ONNX file."""
    program: Any = torch.onnx.export(
        model, (torch.zeros(1, 1, 8, 8),), dynamo=True, input_names=["image"], output_names=["logits"], verbose=False
    )
    onnx.save(without_metadata(program.model_proto), path)


def main() -> int:
    """Train, check the accuracy on the held-out digits, write both files."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of sums, and with it the weights, would depend on the number of cores
    train_x, train_y, test_x, test_y = load_split()
    model = DigitsCNN()
    train(model, train_x, train_y)
    with torch.no_grad():
        correct = int((model(test_x).argmax(1) == test_y).sum())
    accuracy = correct / len(test_y)
    print(f"held-out accuracy: {correct} of {len(test_y)} ({accuracy:.2%})")
    if accuracy < LEAST_ACCURACY:
        print(f"error: less than {LEAST_ACCURACY:.0%}; nothing written", file=sys.stderr)
        return 1
    MODELS.mkdir(exist_ok=True)
    export(model, MODELS / "digits_cnn.onnx")
    np.savez_compressed(MODELS / "digits_test.npz", images=test_x.numpy(), labels=test_y.numpy())
    for path in sorted(MODELS.iterdir()):
        print(f"wrote {path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
