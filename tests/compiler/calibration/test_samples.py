"""Samples from all that they may come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tilewright.compiler.calibration.images import parse_preprocessing
from tilewright.compiler.calibration.samples import checked_samples, samples_of
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import CalibrationError, DataError, UsageError

SPECS = [TensorSpec("a", (1, 3, 4), "float32"), TensorSpec("n", (2,), "int64")]
ONE = SPECS[:1]
A = np.random.default_rng(0).standard_normal((5, 3, 4)).astype("f4")
N = np.arange(10).reshape(5, 2)


def taken(data: Any, specs: Any = ONE) -> list[dict[str, Any]]:
    return list(samples_of(data, specs))


@pytest.mark.parametrize("compressed", [False, True])
def test_all_forms_give_the_same_samples(tmp_path: Path, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "both.npz", a=A, n=N)
    np.save(tmp_path / "one.npy", A)
    (tmp_path / "folder").mkdir()
    for number, each in enumerate(A):
        np.savez(tmp_path / "folder" / f"{number}.npz", a=each[None], n=N[number])
    items = [{"a": a[None], "n": n} for a, n in zip(A, N, strict=True)]
    for data in (
        tmp_path / "both.npz",
        tmp_path / "folder",
        {"a": A, "n": N},
        items,
        [(a, n) for a, n in zip(A, N, strict=True)],
    ):
        found = taken(data, SPECS)
        assert len(found) == 5 and all(each["a"].shape == (1, 3, 4) for each in found)
        np.testing.assert_array_equal(np.concatenate([each["a"] for each in found]), A)
        np.testing.assert_array_equal(np.stack([each["n"] for each in found]), N)
    for data in (tmp_path / "one.npy", A, A[:, None], iter(A)):
        np.testing.assert_array_equal(np.concatenate([each["a"] for each in taken(data)]), A)


def test_fortran_order_and_other_dtypes(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", a=np.asfortranarray(A.astype("f8")))
    found = taken(tmp_path / "f.npz")
    assert found[0]["a"].dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([each["a"] for each in found]), A)


def test_an_array_of_another_name_is_no_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", b=A)
    with pytest.raises(CalibrationError, match="no array for the input 'a'") as caught:
        taken(tmp_path / "other.npz")
    assert caught.value.hint == "the file holds b"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (np.zeros((5, 3, 5), "f4"), r"array \[5, 3, 5\]"),
        ({"b": A}, "no array for the input 'a'"),
        (np.where(A > 1, np.nan, A), "NaN"),
        ([A[0][None], A[1][None], np.full((1, 3, 4), np.inf, "f4")], "item 2"),
        ([(A[0], A[1])], "2 arrays"),
        (A.astype("c8"), "complex64"),
        (7, "holds no samples"),
    ],
)
def test_what_does_not_fit_is_refused(data: Any, what: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        taken(data)
    assert pytest.importorskip("re").search(what, str(caught.value))


def test_inputs_with_different_numbers_of_samples(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="others have more"):
        taken({"a": A, "n": N[:4]}, SPECS)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no archive")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\1\0")
    (tmp_path / "x.txt").write_text("1")
    problems = {
        "empty": "no samples",
        "none.npz": "does not exist",
        "bad.npz": "damaged",
        "bad.npy": "damaged",
        "x.txt": "read",
    }
    for name, what in problems.items():
        with pytest.raises(DataError, match=what):
            taken(tmp_path / name)


def test_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype="u1")
    image.fromarray(pixels).save(tmp_path / "i.png")
    specs = [TensorSpec("x", (1, 3, 8, 8), "float32")]
    steps = parse_preprocessing("crop=8,mean=0.5:0.25:0,std=2,color=bgr")
    found = next(samples_of(tmp_path / "i.png", specs, steps))["x"]
    expected = (pixels[:, 2:10, ::-1] / np.float32(255) - np.float32([0.5, 0.25, 0])) / np.float32(2)
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), rtol=1e-6)

    resized = list(samples_of(tmp_path / "i.png", specs, parse_preprocessing("resize=16,crop=16")))
    assert resized[0]["x"].shape == (1, 3, 8, 8)
    with pytest.raises(DataError, match="the image becomes"):
        list(samples_of(tmp_path / "i.png", specs, parse_preprocessing("color=gray")))


@pytest.mark.parametrize("text", ["size=3", "crop", "mean=a", "layout=CHW", "crop=1,crop=2", "resize=-1"])
def test_preprocessings_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_preprocessing(text)


def test_all_of_the_data_is_looked_at_before_the_first_sample() -> None:
    late = A.copy()
    late[4, 0, 0] = np.nan
    for data in (late, {"a": late}, list(late)):
        with pytest.raises(CalibrationError, match="NaN"):
            checked_samples(data, ONE)
    # What gives its items once alone is looked at as far as samples are needed, and none of it is lost.
    given = checked_samples(iter(late), ONE, least=2)
    assert len([next(given) for _ in range(4)]) == 4
    with pytest.raises(CalibrationError, match="NaN"):
        next(given)
    for short in (A[:1], iter(A[:1])):
        with pytest.raises(CalibrationError, match="holds 1 samples, and 2 are needed"):
            checked_samples(short, ONE, least=2)
