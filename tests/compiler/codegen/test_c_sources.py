"""C sources compile without a warning, call nothing but what they say, and compute what ONNX Runtime computes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from c_sources import built, called, example_inputs
from onnx import helper
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process import places
from tilewright.errors import OutputError, UsageError

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples" / "models" / "digits_cnn.onnx"
MODELS = ROOT / "tests" / "models"


def sources(proto: Any, folder: Path, **options: Any) -> Any:
    return build(proto, folder, CompileOptions(emit="c", name="net", jobs=1, **options))


def reference(proto: Any, plan: Any, inputs: list[Any]) -> list[Any]:
    data = proto.SerializeToString() if isinstance(proto, onnx.ModelProto) else str(proto)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return list(session.run(None, {spec.name: each for spec, each in zip(plan.inputs, inputs, strict=True)}))


def undefined(library: Path) -> set[str]:
    lines = subprocess.run(["nm", "-u", library], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[-1].partition("@")[0] for line in lines if " U " in line} - {"__stack_chk_fail"}


FAST = ("digits", "gpt2", "clip_text")
REST = [path.stem for path in sorted(MODELS.glob("*.onnx")) if path.stem not in FAST]


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)])
def test_models(name: str, tmp_path: Path) -> None:
    path = DIGITS if name == "digits" else MODELS / f"{name}.onnx"
    made = sources(path, tmp_path / "net")
    library = built(made.path, "net")
    inputs = example_inputs(made.plan)

    for ours, theirs in zip(called(library, made.plan, inputs), reference(path, made.plan, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(np.abs(theirs).max()))
    header = made.header.read_text()
    assert f"#define net_ARENA_BYTES {made.plan.workspace_bytes}\n" in header
    assert undefined(library) <= {"memcpy", "memset"} | set(
        header.partition("make of loops), ")[2].split(".\n")[0].split(", ")
    )


NODES = [
    node("Add", ["bytes", "bytes"], "wrapped", "add int8"),
    node("Mul", ["octets", "octets"], "wrapped_up", "mul uint8"),
    node("BitShift", ["octets", "shifts"], "shifted", "shift", direction="LEFT"),
    node("Mod", ["numbers", "divisor"], "rest", "mod"),
    node("Add", ["numbers", "most"], "beyond", "wraps"),
    node("Mul", ["beyond", "numbers"], "far_beyond", "wraps again"),
    node("Div", ["numbers", "divisor"], "quotient", "div"),
    node("Cast", ["x"], "truncated", "to int", to=onnx.TensorProto.INT32),
    node("Cast", ["numbers"], "truth", "to bool", to=onnx.TensorProto.BOOL),
    node("Where", ["truth", "numbers", "divisor"], "chosen", "where"),
    node("ArgMax", ["x"], "largest", "argmax", axis=1, keepdims=0),
    onnx.helper.make_node("TopK", ["x", "two"], ["top", "positions"], "topk"),
    node("CumSum", ["x", "one"], "summed", "cumsum"),
    node("Max", ["x", "odd"], "maximum", "max"),
    node("Erf", ["x"], "erf", "erf"),
    node("Pow", ["x", "two_and_a_half"], "power", "pow"),
    node("Sin", ["x"], "sine", "sin"),
    node("Exp", ["doubles"], "double_exp", "exp of doubles"),
    node("Round", ["x"], "rounded", "round"),
    node("Concat", ["x", "erf"], "joined", "concat", axis=0),
    node("Identity", ["x"], "same", "copy of an input"),
    node("Identity", ["odd"], "constant", "copy of a constant"),
    node("Softmax", ["joined"], "softmax", "softmax"),
]


def odd_model() -> onnx.ModelProto:
    x = ("float32", (3, 5))
    whole, byte, octet = ("int32", (3, 5)), ("int8", (3, 5)), ("uint8", (3, 5))
    return model(
        NODES,
        {"x": x, "numbers": whole, "bytes": byte, "octets": octet, "doubles": ("float64", (4,))},
        {
            "wrapped": byte,
            "wrapped_up": octet,
            "shifted": octet,
            "rest": whole,
            "far_beyond": whole,
            "quotient": whole,
            "truncated": whole,
            "chosen": whole,
            "truth": ("bool", (3, 5)),
            "largest": ("int64", (3,)),
            "top": ("float32", (3, 2)),
            "positions": ("int64", (3, 2)),
            "summed": x,
            "maximum": x,
            "power": x,
            "sine": x,
            "double_exp": ("float64", (4,)),
            "rounded": x,
            "same": x,
            "constant": x,
            "softmax": ("float32", (6, 5)),
        },
        {
            "divisor": np.array([3], np.int32),
            "most": np.array([2**31 - 1], np.int32),
            "shifts": np.array([7], np.uint8),
            "two": np.array([2], np.int64),
            "one": np.array(1, np.int64),
            "two_and_a_half": np.array(2.5, np.float32),
            "odd": np.array([np.inf, -np.inf, np.nan, 1e-45, -0.1] * 3, np.float32).reshape(3, 5),
        },
    )


def odd_inputs() -> list[Any]:
    generator = np.random.default_rng(1)
    return [
        (generator.standard_normal((3, 5)) * 3).astype(np.float32),
        generator.integers(-50, 50, (3, 5)).astype(np.int32),
        generator.integers(-128, 128, (3, 5)).astype(np.int8),
        generator.integers(0, 256, (3, 5)).astype(np.uint8),
        generator.standard_normal(4),
    ]


def test_odd_operators(tmp_path: Path) -> None:
    proto, inputs = odd_model(), odd_inputs()
    made = sources(proto, tmp_path / "net")
    outputs = called(built(made.path, "net"), made.plan, inputs)

    for spec, ours, theirs in zip(made.plan.outputs, outputs, reference(proto, made.plan, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=spec.name)


def test_branches_and_recurrent_layers(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    sides = [
        helper.make_graph([node(operator, ["y"], "r", operator)], operator, [], [value("r", (5, 1, 1, 8))])
        for operator in ("Exp", "Neg")
    ]
    weights = {name: generator.standard_normal(shape) / 3 for name, shape in {"W": (1, 32, 6), "R": (1, 32, 8)}.items()}
    proto = model(
        [
            node("LSTM", ["x", "W", "R"], "y", "lstm", hidden_size=8),
            node("If", ["c"], "z", "if", then_branch=sides[0], else_branch=sides[1]),
        ],
        {"x": ("float32", (5, 1, 6)), "c": ("bool", ())},
        {"z": ("float32", (5, 1, 1, 8))},
        {name: each.astype(np.float32) for name, each in weights.items()},
    )
    made = sources(proto, tmp_path / "net")
    library = built(made.path, "net")
    x = generator.standard_normal((5, 1, 6)).astype(np.float32)

    for condition in (np.array(True), np.array(False)):
        (ours,) = called(library, made.plan, [x, condition])
        np.testing.assert_allclose(ours, reference(proto, made.plan, [x, condition])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quantize", ["weights-int8", "weights-int4", "dynamic"])
def test_weights_of_a_few_bits(quantize: str, tmp_path: Path) -> None:
    """Unpacked by C as by machine code; the folder has so many bytes fewer."""
    generator = np.random.default_rng(3)
    weights = (generator.standard_normal((70, 90)) / 8).astype(np.float32)
    proto = model(
        [node("MatMul", ["x", "w"], "y", "dense")],
        {"x": ("float32", (1, 70))},
        {"y": ("float32", (1, 90))},
        {"w": weights},
    )
    made = sources(proto, tmp_path / "net", quantize=quantize, target="thumbv7em-none-eabihf")
    x = generator.standard_normal((1, 70)).astype(np.float32)
    (ours,) = called(built(made.path, "net", "TARGET_FLAGS="), made.plan, [x])
    exact = x.astype(np.float64) @ weights
    bytes_of = {"weights-int8": 6300, "weights-int4": 3600, "dynamic": 6300}[quantize]
    assert bytes_of <= made.plan.constants.nbytes <= 1.6 * bytes_of
    error = np.abs(ours - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 0.2


def value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def test_a_folder_that_is_there_is_written_anew_and_others_files_stay(tmp_path: Path) -> None:
    proto = model([node("Neg", ["x"], "y", "neg")], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    folder = tmp_path / "net"
    first = sources(proto, folder)
    texts = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sources(proto, folder)

    assert first.header == folder / "src" / "net.h"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == texts
    for name in ("net.json", "Makefile"):
        (folder / name).write_text("# my own\n")
        with pytest.raises(OutputError, match=f"{name} would replace a file"):
            sources(proto, folder)
        assert (folder / name).read_text() == "# my own\n"
        (folder / name).unlink()


def test_nothing_is_left_of_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(files: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(places, "install", full)
    proto = model([node("Neg", ["x"], "y", "neg")], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    with pytest.raises(OutputError, match="No space left"):
        sources(proto, tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(tmp_path: Path) -> None:
    proto = model([node("Neg", ["x"], "y", "neg")], {"x": ("float32", (2,))}, {"y": ("float32", (2,))})
    with pytest.raises(UsageError, match="C sources run in one thread"):
        CompileOptions(emit="c", threads=4)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the output is a file"):
        sources(proto, tmp_path / "file")
    with pytest.raises(OutputError, match="does not exist"):
        sources(proto, tmp_path / "missing" / "net")
