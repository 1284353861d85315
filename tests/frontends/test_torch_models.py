"""Whole networks as PyTorch exports them, against ONNX Runtime: tiny configurations, every kind of layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from execution import execute

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnxruntime = pytest.importorskip("onnxruntime")

_TOLERANCE = 1e-5  # of the largest output: float32 sums in another order


def _resnet() -> tuple[Any, Any]:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=10)
    return transformers.ResNetForImageClassification(config), torch.randn(1, 3, 32, 32)


def _mobilenet() -> tuple[Any, Any]:
    config = transformers.MobileNetV2Config(image_size=32, depth_multiplier=0.35, num_labels=10)
    return transformers.MobileNetV2ForImageClassification(config), torch.randn(1, 3, 32, 32)


def _convnext() -> tuple[Any, Any]:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_labels=10)
    return transformers.ConvNextForImageClassification(config), torch.randn(1, 3, 64, 64)


def _vit() -> tuple[Any, Any]:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8
    )
    return transformers.ViTForImageClassification(config), torch.randn(1, 3, 32, 32)


def _bert() -> tuple[Any, Any]:
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=100
    )
    return transformers.BertModel(config), torch.randint(0, 99, (1, 16))


@pytest.mark.parametrize("make", [_resnet, _mobilenet, _convnext, _vit, _bert])
def test_against_onnxruntime(make: Callable[[], tuple[Any, Any]], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, example = make()
    network.eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            # Fresh statistics would let outputs of deep random networks vanish.
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    path = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), str(path), dynamo=True, verbose=False)
    feed = example.numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: feed})
    outputs = execute(onnx.load(path), {session.get_inputs()[0].name: feed})
    assert len(outputs) == len(expected)
    for output, reference in zip(outputs, expected, strict=True):
        largest = float(np.abs(reference).max())
        assert largest > 1e-3
        np.testing.assert_allclose(output, reference, rtol=0, atol=_TOLERANCE * largest)
