"""float16 in C, bit by bit: every one of them as a float, floats and doubles between all of them, and models."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_sources import built, called
from onnx import TensorProto
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.codegen.c_halves import half_constant, narrowed, widened
from tilewright.compiler.codegen.c_used import Used, helper_texts
from tilewright.compiler.options import CompileOptions


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, used = tmp_path_factory.mktemp("halves"), Used()
    bodies = {
        "wide": ("float", "uint16_t", widened(used, "in[i]")),
        "narrow": ("uint16_t", "float", narrowed(used, "in[i]")),
        "narrow_double": ("uint16_t", "double", narrowed(used, "in[i]", "float64")),
    }
    lines = ["#include <math.h>", "#include <stdint.h>", "#include <string.h>", *helper_texts(used)]
    for name, (result, source, value) in bodies.items():
        lines.append(f"void {name}(const {source} *in, {result} *out, int n) {{")
        lines.append(f"  for (int i = 0; i < n; ++i) out[i] = {value};\n}}")
    (folder / "halves.c").write_text("\n".join(lines) + "\n")
    command = ["cc", "-std=c99", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", "halves.so", "halves.c", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "halves.so"))


def applied(function: Any, values: Any, dtype: Any) -> Any:
    out = np.zeros(len(values), dtype)
    function(values.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), len(values))
    return out


def test_every_half(functions: Any) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    wide = applied(functions.wide, bits, np.float32)

    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    back = applied(functions.narrow, wide, np.uint16).view(np.float16)
    np.testing.assert_array_equal(back, halves)
    assert np.array_equal(np.signbit(back), np.signbit(halves))


def test_between_all_halves(functions: Any) -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = (halves[1:] + halves[:-1]) / 2
    step = middle * 2.0**-40
    doubles = np.concatenate([middle, middle - step, middle + step, [65519.999, 65520.0, 1e300, np.inf, np.nan]])
    doubles = np.concatenate([doubles, -doubles])
    with np.errstate(over="ignore"):
        floats = np.concatenate([doubles.astype(np.float32), np.nextafter(middle.astype(np.float32), np.float32(0))])
        for function, values in (("narrow", floats), ("narrow_double", doubles)):
            actual = applied(getattr(functions, function), values, np.uint16).view(np.float16)
            np.testing.assert_array_equal(actual, values.astype(np.float16))
    assert half_constant(1.0) == "0x3c00" and half_constant(float("inf")) == "0x7c00"


def test_a_model_of_float16(tmp_path: Path) -> None:
    nodes = [
        node("Mul", ["x", "y"], "p", "product"),
        node("Add", ["p", "one"], "s", "sum"),
        node("Div", ["s", "y"], "q", "quotient"),
        node("Max", ["q", "x"], "m", "larger"),
        node("Greater", ["m", "one"], "g", "compared"),
        node("Where", ["g", "m", "p"], "w", "chosen"),
        node("Cast", ["w"], "f", "wide", to=TensorProto.FLOAT),
    ]
    x, y = (np.random.default_rng(seed).standard_normal(200).astype(np.float16) for seed in (0, 1))
    borders = {"x": ("float16", (200,)), "y": ("float16", (200,))}
    outputs = {"w": ("float16", (200,)), "f": ("float32", (200,))}
    proto = model(nodes, borders, outputs, {"one": np.array(1, np.float16)})
    made = build(proto, tmp_path / "net", CompileOptions(emit="c", name="net", jobs=1))

    chosen, wide = called(built(made.path, "net"), made.plan, [x, y])

    # Rounded after every operator; ONNX Runtime leaves some of it out.
    product = x * y
    larger = np.maximum((product + np.float16(1)) / y, x)
    expected = np.where(larger > 1, larger, product)
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(wide, expected.astype(np.float32))
