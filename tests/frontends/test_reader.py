"""Model files are hostile until parsed: whatever is wrong with one ends in an error of ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tilewright
from models import model, perceptron, tensor
from onnx import helper, numpy_helper
from tilewright import frontends
from tilewright.errors import ExternalDataError, ModelError, TilewrightError, UnsupportedVersionError, UsageError


def _moved(tensor: onnx.TensorProto, folder: Path, location: str = "w.bin") -> None:
    """Puts a tensor's bytes at the end of a file, and lets the tensor say so."""
    with (folder / location).open("ab") as file:
        offset = file.tell()
        file.write(tensor.raw_data)
    entries = {"location": location, "offset": str(offset), "length": str(len(tensor.raw_data))}
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def _everywhere(folder: Path) -> tuple[Path, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """A model with external data in a weight, a constant, a branch's weight and constant, a function and a sparse
    tensor; and what it adds to its input."""
    arrays = [np.arange(2, dtype=np.float32) + 10 * index for index in range(1, 8)]
    tensors = [numpy_helper.from_array(array, f"t{index}") for index, array in enumerate(arrays)]
    sparse = onnx.SparseTensorProto(dims=[2], values=tensors[6], indices=numpy_helper.from_array(np.array([0, 1]), "i"))
    for each in (*tensors[:6], sparse.values, sparse.indices):
        _moved(each, folder)
    sum_of = lambda names, output: helper.make_node("Sum", names, [output])  # noqa: E731
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["kept"], value=tensors[2]), sum_of(["x", "t3", "kept"], "o")],
        "branch",
        [],
        [tensor("o", [2])],
        [tensors[3]],
    )
    other = helper.make_graph([sum_of(["x"], "p")], "other", [], [tensor("p", [2])])
    body = [helper.make_node("Constant", [], ["k"], value=tensors[4]), sum_of(["a", "k"], "b")]
    function = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=tensors[1]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["c"], ["i"], then_branch=branch, else_branch=other),
        helper.make_node("F", ["i"], ["f"], domain="own"),
        sum_of(["f", "k", "t0", "t5", "t6"], "y"),
    ]
    proto = model(nodes, [tensor("x", [2])], [tensor("y", [2])], functions=[function], domains=["own"])
    proto.graph.initializer.extend([tensors[0], tensors[5]])
    proto.graph.sparse_initializer.append(sparse)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path, np.sum(arrays, axis=0)


def test_external_data_is_found_wherever_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, added = _everywhere(tmp_path)
    monkeypatch.chdir("/")
    compiled = tilewright.compile(path, threads=1)
    assert compiled.run({"x": np.zeros(2, np.float32)})["y"].tolist() == added.tolist()


_MARK = b"@" * 5  # one byte of it makes a text that is not UTF-8


def _dimension(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_param = _MARK.decode()


_TEXTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "name": lambda proto: setattr(proto.graph.node[0], "name", _MARK.decode()),
    "op_type": lambda proto: setattr(proto.functions[0].node[1], "op_type", _MARK.decode()),
    "output": lambda proto: proto.functions[0].output.append(_MARK.decode()),
    "domain": lambda proto: setattr(proto.opset_import[0], "domain", _MARK.decode()),
    "ref_attr_name": lambda proto: setattr(proto.graph.node[0].attribute[0], "ref_attr_name", _MARK.decode()),
    "key": lambda proto: setattr(proto.graph.initializer[0].external_data[1], "key", _MARK.decode()),
    "value": lambda proto: setattr(proto.graph.sparse_initializer[0].indices.external_data[0], "value", _MARK.decode()),
    "dim_param": _dimension,
}


@pytest.mark.parametrize("field", _TEXTS)
def test_a_string_that_is_no_text(field: str, tmp_path: Path) -> None:
    path, _ = _everywhere(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    _TEXTS[field](proto)
    path.write_bytes(proto.SerializeToString().replace(_MARK, b"\xff" + _MARK[1:]))

    with pytest.raises(ModelError, match="not text in UTF-8") as caught:
        tilewright.compile(path)
    assert f"'{field}' of a" in caught.value.where


def test_remarks_in_another_encoding_are_no_fault(tmp_path: Path) -> None:
    path, _ = _everywhere(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.doc_string = proto.producer_name = proto.graph.node[0].doc_string = _MARK.decode()
    path.write_bytes(proto.SerializeToString().replace(_MARK, b"\xff" + _MARK[1:]))

    tilewright.compile(path)


def test_external_data_is_checked_wherever_it_is_used(tmp_path: Path) -> None:
    path, _ = _everywhere(tmp_path)
    content = path.read_bytes()
    places = content.count(b"w.bin")
    assert places == 8
    start = 0
    for _ in range(places):
        start = content.index(b"w.bin", start)
        path.write_bytes(content[:start] + b"../w." + content[start + 5 :])
        start += 1
        with pytest.raises(ExternalDataError, match="outside"):
            frontends.open(path)


def _external(folder: Path, location: str = "w.bin") -> Path:
    """A perceptron whose weight w lies in w.bin, and says that it lies at `location`."""
    proto = perceptron()
    weight = next(each for each in proto.graph.initializer if each.name == "w")
    (folder / "w.bin").write_bytes(weight.raw_data)
    length = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_file_and_its_external_data_are_read(tmp_path: Path) -> None:
    imported = frontends.load(frontends.open(_external(tmp_path)))
    assert (imported.name, imported.input_names, imported.output_names) == ("model", ("x",), ("y",))


def test_a_relative_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _external(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert frontends.load(frontends.open("model.onnx")).output_names == ("y",)


def test_a_missing_file() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        frontends.open("nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"this is no model", os.urandom(512)])
def test_not_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        frontends.open(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    content = perceptron().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError):
        frontends.open(path)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_model(device: str) -> None:
    with pytest.raises(ModelError, match="no file"):
        frontends.open(device)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(perceptron().SerializeToString(),))
    writer.start()
    assert frontends.open(path).proto.graph.input
    writer.join()


def test_missing_external_data(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ExternalDataError, match="does not exist"):
        frontends.open(path)


def test_short_external_data(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "w.bin").write_bytes(b"\0" * 47)
    with pytest.raises(ExternalDataError, match="too short: 48 bytes"):
        frontends.open(path)


def _dots(folder: Path, secret: Path) -> str:
    return "../secret.bin"


def _absolute(folder: Path, secret: Path) -> str:
    return str(secret)


def _symbolic_link(folder: Path, secret: Path) -> str:
    (folder / "link.bin").symlink_to(secret)
    return "link.bin"


def _linked_folder(folder: Path, secret: Path) -> str:
    (folder / "sub").symlink_to(secret.parent, target_is_directory=True)
    return "sub/secret.bin"


def _hard_link(folder: Path, secret: Path) -> str:
    os.link(secret, folder / "hard.bin")
    return "hard.bin"


def _windows_drive(folder: Path, secret: Path) -> str:
    return "C:\\secret.bin"


@pytest.mark.parametrize("escape", [_dots, _absolute, _symbolic_link, _linked_folder, _hard_link, _windows_drive])
def test_external_data_outside_the_folder(tmp_path: Path, escape: Callable[[Path, Path], str]) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\0" * 48)
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ExternalDataError):
        frontends.open(_external(folder, escape(folder, secret)))


def test_a_model_in_memory_has_no_external_data(tmp_path: Path) -> None:
    proto = onnx.load(_external(tmp_path), load_external_data=False)
    with pytest.raises(ExternalDataError, match="in another file"):
        frontends.open(proto)


def test_a_newer_opset() -> None:
    proto = perceptron()
    proto.opset_import[0].version = 999
    with pytest.raises(UnsupportedVersionError, match="opset 999"):
        frontends.open(proto)


def _unknown_input() -> onnx.ModelProto:
    proto = perceptron()
    del proto.graph.initializer[0]
    return proto


def _cycle() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    return model(nodes, [tensor("x", [2])], [tensor("b", [2])])


def _name_twice() -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    return model(nodes, [tensor("x", [2])], [tensor("y", [2])])


def _initializer_twice() -> onnx.ModelProto:
    proto = perceptron()
    proto.graph.initializer.append(proto.graph.initializer[0])
    return proto


def _wrong_size() -> onnx.ModelProto:
    proto = perceptron()
    proto.graph.initializer[0].dims[0] = 30
    return proto


def _shapes_that_do_not_fit() -> onnx.ModelProto:
    proto = perceptron()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    return proto


def _circular_functions() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function("own", name, ["a"], ["b"], [helper.make_node(other, ["a"], ["b"], domain="own")], opsets)
        for name, other in (("F", "G"), ("G", "F"))
    ]
    node = helper.make_node("F", ["x"], ["y"], domain="own")
    return model([node], [tensor("x", [2])], [tensor("y", [2])], functions=functions, domains=["own"])


@pytest.mark.parametrize(
    "make",
    [
        _unknown_input,
        _cycle,
        _name_twice,
        _initializer_twice,
        _wrong_size,
        _shapes_that_do_not_fit,
        _circular_functions,
    ],
)
def test_an_inconsistent_model(make: Callable[[], onnx.ModelProto]) -> None:
    with pytest.raises(ModelError):
        frontends.load(frontends.open(make()))


def test_damage_anywhere_raises_our_errors_only() -> None:
    """Bytes of a small model flipped at random: it may still import, or be refused, and nothing else."""
    original = perceptron().SerializeToString()
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(300):
        damaged = bytearray(original)
        for position in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        try:
            proto = onnx.ModelProto.FromString(bytes(damaged))
        except Exception:  # what protobuf refuses is tested with files
            continue
        try:
            frontends.open(proto)
        except TilewrightError:
            refused += 1
    assert refused > 50


def test_an_object_that_is_no_model() -> None:
    with pytest.raises(UsageError, match="int is no model"):
        frontends.open(3)
