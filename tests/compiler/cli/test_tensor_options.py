"""Tensors on the command line: every form that is read, and errors for all others."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from tilewright.compiler.cli.tensor_options import fixed_shapes, parse_shapes, parse_tensors, read_labels, shaped_as
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import DataError, TensorError, UsageError

IDS = TensorSpec("ids", (2, 2), "int64")


def test_shapes() -> None:
    assert parse_shapes(["x=1x3x8", "a=b=4", "scalar="]) == {"x": (1, 3, 8), "a=b": (4,), "scalar": ()}


@pytest.mark.parametrize("options", [["x"], ["=1x2"], ["x=1x"], ["x=1,2"], ["x=-1"], ["x=1", "x=2"]])
def test_what_is_no_shape(options: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_shapes(options)


def test_files(tmp_path: Path) -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.array([True, False])
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", x=x, y=y)
    np.savez(tmp_path / "one.npz", other=y)

    for options, expected in (
        ([f"x=@{tmp_path}/x.npy"], {"x": x}),
        ([f"y=@{tmp_path}/both.npz"], {"y": y}),
        ([f"y=@{tmp_path}/one.npz"], {"y": y}),
        ([f"@{tmp_path}/both.npz"], {"x": x, "y": y}),
    ):
        found = parse_tensors(options, "--input")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


def test_lists_take_the_dtype_of_the_input() -> None:
    def value(text: str, spec: TensorSpec) -> np.ndarray:
        return shaped_as(spec, parse_tensors([f"{spec.name}={text}"], "--input")[spec.name], "--input")

    np.testing.assert_array_equal(value("1,2,-3,0x10", IDS), np.array([[1, 2], [-3, 16]]))
    np.testing.assert_array_equal(value("7", IDS), np.full((2, 2), 7))
    np.testing.assert_array_equal(value("true,0", TensorSpec("m", (2,), "bool")), [True, False])
    assert value("1e-3", TensorSpec("s", (), "float32")) == np.float32(1e-3)


@pytest.mark.parametrize("text", ["1,2,3", "1.5,2,3,4", "one,2,3,4", "1,2,3,", "99999999999999999999,1,1,1"])
def test_lists_that_do_not_fit(text: str) -> None:
    with pytest.raises(TensorError):
        shaped_as(IDS, parse_tensors([f"ids={text}"], "--input")["ids"], "--input")


def test_bfloat16_survives_numpy_files(tmp_path: Path) -> None:
    x = np.arange(4).astype(ml_dtypes.bfloat16)
    np.save(tmp_path / "x.npy", x)
    (read,) = parse_tensors([f"x=@{tmp_path}/x.npy"], "--input").values()

    np.testing.assert_array_equal(shaped_as(TensorSpec("x", (4,), "bfloat16"), read, "--input"), x)


@pytest.mark.parametrize("option", ["x", "=@f.npy", "x=", "@"])
def test_what_is_no_tensor(option: str) -> None:
    with pytest.raises((UsageError, DataError)):
        parse_tensors([option], "--input")


def header_of_a_terabyte() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 38,)})
    return file.getvalue() + bytes(64)


def whole_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(1000.0))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no numbers",
        whole_array()[:2000],
        whole_array()[:20],
        header_of_a_terabyte(),
        b"PK\x03\x04 no archive",
        pickle.dumps({"x": 1}),
    ],
    ids=["empty", "text", "cut", "cut in its header", "too large", "archive", "pickle"],
)
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)

    with pytest.raises(DataError) as caught:
        parse_tensors([f"x=@{path}"], "--input")
    assert str(path) in str(caught.value)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)

    with pytest.raises(DataError, match="plain numbers"):
        parse_tensors([f"x=@{tmp_path}/x.npy"], "--input")


def test_labels_are_called_so_or_alone_in_their_file(tmp_path: Path) -> None:
    """The samples' own array is none, though it be the only one of its file."""
    labels, samples = np.arange(3), np.zeros((3, 4), np.float32)
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "both.npz", x=samples, labels=labels)
    np.savez(tmp_path / "samples.npz", x=samples)

    for name in ("labels.npy", "both.npz"):
        np.testing.assert_array_equal(read_labels(tmp_path / name), labels)
    with pytest.raises(DataError, match="there are no labels in the file") as raised:
        read_labels(tmp_path / "samples.npz")
    assert "--labels" in str(raised.value) and "it holds x" in str(raised.value)


def test_names_in_shapes_are_told_of_a_range_where_there_may_be_one() -> None:
    with pytest.raises(UsageError, match="--range"):
        parse_shapes(["x=Nx3"])
    with pytest.raises(UsageError, match="do not stand for sizes here") as raised:
        fixed_shapes(["x=Nx3"])
    assert "--range" not in str(raised.value)
    assert fixed_shapes(["x=2x3"]) == {"x": (2, 3)}
