"""What was opened is loaded as often as one likes, keeps its place, and has taps; nobody reads ONNX by another way."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import tilewright
from models import perceptron
from tilewright import frontends
from tilewright.frontends.taps import cut, exposed, inner_values

ROOT = Path(tilewright.__file__).parent


def test_an_opened_model_is_loaded_again_with_other_shapes() -> None:
    opened = frontends.open(perceptron("batch"))

    for batch in (2, 5):
        main = frontends.load(opened, shapes={"x": (batch, 3)}).module["main"]
        assert [int(dim) for dim in main.params[0].ty.shape] == [batch, 3]
    assert frontends.open(opened) is opened


def test_taps_keep_where_the_model_came_from(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(perceptron(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    opened = frontends.open(path)
    assert (opened.name, opened.folder, opened.for_engine()) == ("net", tmp_path.resolve(), path)

    tapped = exposed(opened, inner_values(opened))
    assert frontends.load(tapped).output_names == ("h", "s", "y")
    whole = onnx.load_from_string(tapped.for_engine())
    assert whole.graph.initializer[0].data_location == onnx.TensorProto.DEFAULT
    values = {name: np.zeros((2, 4), np.float32) for name in ("h", "s", "y")}
    assert frontends.load(cut(opened, ["y"], values, 1)).input_names == ("s",)


def test_the_reader_is_private_to_the_frontends() -> None:
    reading = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "compiler").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and "frontends.onnx" in (node.module or ""))
        or ast.unparse(node) in ("onnx.load", "onnx.load_model")
    }
    assert reading == set()
