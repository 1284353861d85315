"""Weights of another model in a library that is there: the bytes of a compile, or a refusal that names what differs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from command_line import fails
from onnx import numpy_helper
from small_models import model, node
from tilewright.benchmarks.decoders import Decoder, decoder
from tilewright.compiler.build import build
from tilewright.compiler.cli.main import run
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.recipe import KeepEntry, Recipe
from tilewright.compiler.replace_weights import Replaced, replace_weights
from tilewright.errors import LibraryError, TilewrightError


def network(seed: int, *, same_biases: bool = False, zeros: float = 0.0, rows: Any = 2) -> onnx.ModelProto:
    """A convolution with a batch norm, a product and a head: all of them are folded and packed."""
    random = np.random.default_rng(seed)
    shapes = {"w0": (32, 8, 3, 3), "w1": (32, 64), "w2": (64, 10), "b1": (64,), "w3": (64, 64), "b0": (64,)}
    shapes["b2"] = (10,)
    values = {name: random.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
    values |= {name: 1 + 0.5 * random.random(32, dtype="float32") for name in ("scale", "mean", "variance")}
    values["shift"] = random.standard_normal(32).astype("float32")
    if same_biases:
        values["b0"] = values["b1"]
    values["w1"][:, : int(64 * zeros)] = 0
    return model(
        [
            node("Conv", ["x", "w0"], "c", "stem", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], "n", "norm"),
            node("Relu", ["n"], "r", "relu"),
            node("GlobalAveragePool", ["r"], "g", "pool"),
            node("Flatten", ["g"], "f", "flat"),
            node("Gemm", ["f", "w1", "b1"], "h", "hidden"),
            node("Relu", ["h"], "p", "positive"),
            node("Gemm", ["p", "w3", "b0"], "s", "second"),
            node("Relu", ["s"], "q", "again"),
            node("Gemm", ["q", "w2", "b2"], "y", "head"),
        ],
        {"x": ("float32", (rows, 8, 6, 6))},
        {"y": ("float32", (rows, 10))},
        values,
    )


OPTIONS = CompileOptions(threads=1, name="net")


def compiled(folder: Path, name: str, proto: onnx.ModelProto, options: CompileOptions = OPTIONS) -> Path:
    build(proto, folder / f"{name}.so", options)
    return folder / f"{name}.so"


def replaced(library: Path, proto: onnx.ModelProto, **given: Any) -> Replaced:
    return replace_weights(library, proto, library.with_name("new.so"), CompileOptions(**given), lambda *_: None)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("old"), "old", network(1))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("expected"), "expected", network(2))


def test_the_bytes_are_those_of_a_compile(library: Path, expected: Path) -> None:
    made = replaced(library, network(2))

    assert made.path.read_bytes() == expected.read_bytes() != library.read_bytes()
    assert made.path.with_suffix(".h").read_text() == expected.with_suffix(".h").read_text()
    assert 0 < made.changed_bytes <= made.weights_bytes
    x = {"x": np.random.default_rng(3).standard_normal((2, 8, 6, 6)).astype("float32")}
    assert tilewright.load(made.path).run(x)["y"].tobytes() == tilewright.load(expected).run(x)["y"].tobytes()


def test_the_same_weights_change_nothing(library: Path) -> None:
    assert replaced(library, network(1)).changed_bytes == 0


def test_a_library_takes_its_own_place(library: Path, expected: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(library, tmp_path / "own.so"))
    replace_weights(own, network(2), own, CompileOptions(), lambda *_: None)

    assert own.read_bytes() == expected.read_bytes()


def test_code_that_leaves_zeros_out_is_another(library: Path) -> None:
    with pytest.raises(LibraryError, match=r"hidden.* there, and by sparse here") as raised:
        replaced(library, network(2, zeros=0.9))

    assert "stem" not in str(raised.value)


def test_other_inputs_and_other_options_are_told(library: Path) -> None:
    with pytest.raises(TilewrightError, match="x"):
        replaced(library, network(2, rows=3))
    with pytest.raises(LibraryError, match="other inputs or outputs"):
        renamed = network(2)
        renamed.graph.output[0].name = renamed.graph.node[-1].output[0] = "z"
        replaced(library, renamed)
    with pytest.raises(LibraryError, match="stem"):
        replaced(library, network(2), recipe=Recipe(layers={"stem": {"keep_channels": KeepEntry(tuple(range(16)))}}))


def test_equal_constants_stand_once_and_have_to_stay_equal(tmp_path: Path) -> None:
    library = compiled(tmp_path, "old", network(1, same_biases=True))

    with pytest.raises(LibraryError, match="are not equal any more") as raised:
        replaced(library, network(2))
    assert "second" in str(raised.value)
    x = {"x": np.random.default_rng(3).standard_normal((2, 8, 6, 6)).astype("float32")}
    new, other = network(2, same_biases=True), compiled(tmp_path, "other", network(1))
    once, twice = (tilewright.load(replaced(each, new).path).run(x)["y"] for each in (library, other))
    assert once.tobytes() == twice.tobytes(), "constants that become equal may"


def test_a_range_of_sizes_and_a_recipe(tmp_path: Path) -> None:
    recipe = Recipe(layers={"stem": {"keep_channels": KeepEntry(tuple(range(16)))}})
    shapes: dict[str, Any] = {"x": ("N", 8, 6, 6)}
    options = replace(OPTIONS, shapes=shapes, ranges={"N": (1, 4)}, recipe=recipe)
    library, expected = (compiled(tmp_path, f"net{seed}", network(seed, rows="N"), options) for seed in (1, 2))

    assert replaced(library, network(2, rows="N"), recipe=recipe).path.read_bytes() == expected.read_bytes()


def test_a_decoder_with_caches(tmp_path: Path) -> None:
    old, new = decoder(Decoder(layers=1)), decoder(Decoder(layers=1))
    for weight in new.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim == 2:
            weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), weight.name))
    options = replace(OPTIONS, ranges={"past": (0, 8), "seq": (1, 4)})
    library, expected = (compiled(tmp_path, name, proto, options) for name, proto in (("old", old), ("new", new)))

    assert replaced(library, new).path.read_bytes() == expected.read_bytes()


def test_libraries_that_do_not_say_enough_are_refused(library: Path, tmp_path: Path) -> None:
    stripped = Path(shutil.copy(library, tmp_path / "stripped.so"))
    subprocess.run(["strip", stripped], check=True)

    with pytest.raises(LibraryError, match="where its weights are") as raised:
        replaced(stripped, network(2))
    assert raised.value.where == str(stripped)


def test_the_command(library: Path, expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(network(2), tmp_path / "tuned.onnx")
    onnx.save(network(2, zeros=0.9), tmp_path / "sparse.onnx")
    words = ["replace-weights", str(library), "-o", str(tmp_path / "tuned.so"), "--model"]

    assert run([*words, str(tmp_path / "tuned.onnx")]) == 0
    assert "of them new" in capsys.readouterr().err
    assert (tmp_path / "tuned.so").read_bytes() == expected.read_bytes()
    fails(capsys, [*words, tmp_path / "sparse.onnx"], 4, "hidden")
    fails(capsys, [*words, tmp_path / "nowhere.onnx"], 4, "does not exist")
