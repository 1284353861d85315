"""Whole models through the whole compiler: an ONNX file in, a library out, its outputs held to ONNX Runtime's.

The tolerance, 1e-4 of the largest output, is what two correct float32 programs that sum in different orders stay well
below at these depths (they differ by some 1e-6), while a wrong pixel, a dropped bias or a wrong axis exceed it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tilewright
from tilewright.benchmarks import exporting, models, tiny, trained

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "models" / "digits_cnn.onnx"
FAMILIES = sorted((ROOT / "tests" / "models").glob("*.onnx"))
TOLERANCE = 1e-4

Array = np.ndarray[Any, Any]


def reference_session(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def random_inputs(session: onnxruntime.InferenceSession, seed: int) -> dict[str, Array]:
    """Normal noise; tokens within the vocabulary; a mask that hides the end of the last row."""
    generator = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for tensor in session.get_inputs():
        if tensor.name == "attention_mask":
            inputs[tensor.name] = np.ones(tensor.shape, np.int64)
            inputs[tensor.name][-1, -(1 + seed) :] = 0
        elif tensor.type == "tensor(int64)":
            inputs[tensor.name] = generator.integers(0, tiny.VOCABULARY, tensor.shape, np.int64)
        else:
            inputs[tensor.name] = generator.standard_normal(tensor.shape, dtype=np.float32)
    return inputs


def assert_equal_outputs(
    compiled: tilewright.CompiledModel, session: onnxruntime.InferenceSession, inputs: Mapping[str, Array]
) -> None:
    results = compiled.run(inputs)
    names = [tensor.name for tensor in session.get_outputs()]
    assert list(results) == names
    for name, reference in zip(names, session.run(None, dict(inputs)), strict=True):
        assert results[name].shape == reference.shape and results[name].dtype == reference.dtype
        assert reference.std() > 1e-3, "outputs that are all alike prove nothing"
        error = np.abs(results[name] - reference).max() / np.abs(reference).max()
        assert error <= TOLERANCE, f"{name}: max |error| is {error:.2e} of max |reference|"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tilewright.CompiledModel:
    return tilewright.compile(DIGITS, output=tmp_path_factory.mktemp("digits") / "digits_cnn.so", threads=1)


def test_digits_are_recognised(digits: tilewright.CompiledModel) -> None:
    with np.load(DIGITS.with_name("digits_test.npz")) as data:
        images, labels = data["images"], data["labels"]
    logits = np.concatenate([digits.run({"image": image[None]})["logits"] for image in images])
    assert (logits.argmax(1) == labels).mean() > 0.98
    session = reference_session(DIGITS)
    references = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    assert (logits.argmax(1) == references.argmax(1)).all()
    assert np.abs(logits - references).max() <= TOLERANCE * np.abs(references).max()


def test_example_model_describes_itself(digits: tilewright.CompiledModel) -> None:
    assert [(spec.name, tuple(spec.shape), str(spec.dtype)) for spec in digits.inputs] == [
        ("image", (1, 1, 8, 8), "float32")
    ]
    assert [(spec.name, tuple(spec.shape), str(spec.dtype)) for spec in digits.outputs] == [
        ("logits", (1, 10), "float32")
    ]
    assert digits.workspace_bytes > 0


def test_the_input_changes_the_output(digits: tilewright.CompiledModel) -> None:
    first, second = (digits.run({"image": np.full((1, 1, 8, 8), value, np.float32)})["logits"] for value in (0, 1))
    assert np.abs(first - second).max() > 0.1


@pytest.mark.sweep(3)
@pytest.mark.parametrize("model", FAMILIES, ids=lambda path: path.stem)
def test_family_in_miniature(model: Path, tmp_path: Path) -> None:
    compiled = tilewright.compile(model, output=tmp_path / f"{model.stem}.so", threads=1)
    session = reference_session(model)
    for seed in (0, 1):
        assert_equal_outputs(compiled, session, random_inputs(session, seed))


@pytest.mark.parametrize("name", ["resnet_bottleneck", "bert"])
def test_two_threads_give_the_bits_of_one(name: str, tmp_path: Path) -> None:
    """How work is cut must not change the order of any sum."""
    model = ROOT / "tests" / "models" / f"{name}.onnx"
    compiled = tilewright.compile(model, output=tmp_path / f"{name}.so")
    inputs = random_inputs(reference_session(model), 0)
    compiled.set_num_threads(1)
    alone = compiled.run(inputs)
    compiled.set_num_threads(2)
    together = compiled.run(inputs)
    for output, expected in alone.items():
        np.testing.assert_array_equal(together[output], expected)


def test_all_families_are_here() -> None:
    """An empty folder would make the tests above pass by not running."""
    assert {path.stem for path in FAMILIES} == set(tiny.FAMILIES)


@pytest.mark.parametrize("name", trained.TINY_MODELS)
def test_mlperf_tiny(name: str, tmp_path: Path) -> None:
    """Trained float models; converting them needs TensorFlow once, after that they lie in the folder of models."""
    try:
        model = trained.make(name, exporting.default_folder())
    except trained.SourceMissingError as reason:
        pytest.skip(str(reason))
    compiled = tilewright.compile(model, output=tmp_path / f"{name}.so", threads=1)
    with np.load(model.with_suffix(".npz")) as inputs:
        assert_equal_outputs(compiled, reference_session(model), dict(inputs))


def tilewright_command(*arguments: str | Path) -> None:
    """Runs the command line in a process of its own: full-size models would fill this one's memory."""
    command = [sys.executable, "-c", "from tilewright.compiler.cli.main import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"tilewright {arguments[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", models.MODELS)
def test_full_size_model(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="exporting the benchmark models needs torch and transformers")
    pytest.importorskip("transformers", reason="exporting the benchmark models needs torch and transformers")
    model = models.export(models.MODELS[name], exporting.default_folder())
    library = tmp_path / f"{name}.so"
    tilewright_command("compile", model, "-o", library)
    tilewright_command("verify", library, model, "--runs", "3", "--rtol", str(TOLERANCE))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trained_sentence_encoder(tmp_path: Path) -> None:
    try:
        model = trained.make(trained.MINILM, exporting.default_folder())
    except trained.SourceMissingError as reason:
        pytest.skip(str(reason))
    compiled = tilewright.compile(model, output=tmp_path / "minilm.so")
    session = reference_session(model)
    with np.load(model.with_suffix(".npz")) as archive:
        inputs = dict(archive)
    assert_equal_outputs(compiled, session, inputs)
    embedding = compiled.run(inputs)["sentence_embedding"]
    similarity = embedding @ embedding.T - 2 * np.eye(len(embedding))
    assert similarity.argmax(1)[:4].tolist() == [1, 0, 3, 2], "sentences that mean the same are not the nearest"
