"""The benchmark's table of models, as far as it can be checked without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tilewright.benchmarks import exporting, inputs, models, random_weights, tiny

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "models" / "digits_cnn.onnx"
KEPT_MODELS = [EXAMPLE, *sorted(tiny.FOLDER.glob("*.onnx"))]


def test_the_models_are_there() -> None:
    assert set(models.MODELS) == {
        "resnet18",
        "resnet50",
        "vgg16",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "squeezenet1_1",
        "densenet121",
        "inception_v3",
        "convnext_tiny",
        "vit_b_16",
        "bert_base",
        "regnet_y_1_6gf",
        "levit_128",
        "pvt_v2_b1",
        "swin_t",
        "deeplab_v3_mobilenet_v3",
        "yolox_tiny",
        "ddpm_unet",
        "edsr_baseline_x2",
        "wav2vec2_base",
        "conformer_s",
        "clip_text_b_32",
        "t5_small_encoder",
    }


def test_groups_stand_for_all_models_once() -> None:
    assert models.expand(()) == [*models.GROUPS["first-dozen"], *models.GROUPS["second-dozen"]] == list(models.MODELS)
    assert models.expand(("second-dozen", "other.onnx")) == [*models.GROUPS["second-dozen"], "other.onnx"]


@pytest.mark.parametrize("name", models.MODELS)
def test_example_inputs_are_the_same_for_a_seed_and_differ_between_seeds(name: str) -> None:
    spec = models.MODELS[name]
    first, again, other = spec.example_inputs(0), spec.example_inputs(0), spec.example_inputs(1)
    assert list(first) == [each.name for each in spec.inputs]
    for each in spec.inputs:
        value = first[each.name]
        assert value.shape == each.shape
        np.testing.assert_array_equal(value, again[each.name])
        if isinstance(each, inputs.Numbers):
            assert value.min() >= 0 and value.max() < each.end
    assert any((value != other[key]).any() for key, value in first.items())


def test_a_mask_hides_the_end_of_every_second_row_the_last_one_included() -> None:
    for rows, hidden in ((1, [2]), (2, [0, 2]), (3, [2, 0, 2])):
        mask = inputs.Mask((rows, 5), padding=2).draw(np.random.default_rng(0))
        assert [list(row) for row in mask] == [[1] * (5 - count) + [0] * count for count in hidden]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.full((1, 4), 1e-28), np.full((1, 4), 2e-28), "standard deviation"),
        (np.array([1.0, 2, 3]), np.array([1.0, 2, 3.001]), "nearly the same"),
    ],
)
def test_useless_outputs_are_refused(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        exporting.check_outputs([first], [second])


def test_useful_outputs_are_accepted() -> None:
    assert "changed" in exporting.check_outputs([np.array([1.0, -2, 3])], [np.array([-1.0, 0, 2])])


def test_miniatures_on_disk_are_those_of_the_table() -> None:
    assert {path.stem for path in tiny.FOLDER.glob("*.onnx")} == set(tiny.FAMILIES)


@pytest.mark.parametrize("path", KEPT_MODELS, ids=lambda path: path.stem)
def test_kept_models_are_small_valid_and_carry_no_notes(path: Path) -> None:
    assert path.stat().st_size <= tiny.LARGEST_BYTES
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 18
    for node in model.graph.node:
        assert node.name and not node.doc_string and not node.metadata_props


def test_batch_norms_take_the_statistics_of_what_reaches_them() -> None:
    """The norm behind a mean over images takes them after those before it are disturbed, and still centres."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.BatchNorm2d(16),
    )
    torch.manual_seed(0)
    batch = torch.randn(32, 3, 9, 9)

    random_weights.randomise(network, batch, 1.0, 0)

    with torch.no_grad():
        for depth in (2, 5):
            norm, result = network[depth - 1], network[:depth](batch)
            normal = (result - norm.bias[:, None, None]) / norm.weight[:, None, None]
            assert normal.mean((0, 2, 3)).abs().max() < 0.5 and 0.8 < normal.std() < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("name", models.MODELS)
def test_architecture_is_the_published_one(name: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    spec = models.MODELS[name]
    model = models.create(spec)
    assert models.count_parameters(model) == spec.parameters
    gmacs = models.count_macs(model, [torch.from_numpy(value) for value in spec.example_inputs(0).values()]) / 1e9
    assert gmacs == pytest.approx(spec.gmacs, rel=models.MACS_TOLERANCE)
