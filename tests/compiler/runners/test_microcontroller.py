"""Models on an emulated Cortex-M4: what ONNX Runtime computes, and how many instructions it takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tilewright
from c_sources import WARNINGS
from command_line import fails
from quantized_network import network
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.cli.main import run
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners import microcontroller
from tilewright.compiler.runners.microcontroller import (
    MicrocontrollerRunner,
    load_sources,
    missing_tools,
)
from tilewright.errors import LibraryError, TensorError, ToolError

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "models" / "digits_cnn.onnx"
M4 = ("thumbv7em-none-eabihf", "cortex-m4")
needs_tools = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")


def sources(proto: Any, folder: Path, triple: str = M4[0], cpu: str | None = M4[1]) -> Any:
    build(proto, folder / "net", CompileOptions(target=triple, cpu=cpu, emit="c", name="net", jobs=1))
    return load_sources(folder / "net")


@needs_tools
def test_a_network(tmp_path: Path) -> None:
    made = sources(DIGITS, tmp_path)
    image = np.load(DIGITS.parent / "digits_test.npz")["images"][:1].astype(np.float32).reshape(1, 1, 8, 8)
    (expected,) = onnxruntime.InferenceSession(str(DIGITS)).run(None, {"image": image})
    runner = MicrocontrollerRunner(("-std=c99", "-O2", "-ffp-contract=off", *WARNINGS.split()))
    counts = runner.count(made, {"image": image})

    np.testing.assert_allclose(counts.outputs[0], expected, atol=1e-5 * float(np.abs(expected).max()))
    # 801,120 multiply-adds: two instructions each, but for the borders of tiles and loops.
    assert 801_120 < counts.instructions < 2 * 801_120
    assert 64 <= counts.stack_bytes < 512
    assert made.signature.workspace_bytes == counts.ram_bytes < 21_000
    assert made.signature.weights_bytes < counts.flash_bytes < made.signature.weights_bytes + 12_000


def test_other_files_beside_the_sources(tmp_path: Path) -> None:
    made = sources(DIGITS, tmp_path)
    (made.path / "compile_commands.json").write_text("[]")

    assert load_sources(made.path).signature == made.signature
    make = subprocess.run(
        ["make", "-C", made.path, "shared", "CC=cc"], capture_output=True, text=True
    )  # for this machine
    assert make.returncode == 0 and (made.path / "libnet.so").exists(), make.stderr


# What multiplies integers, one of its instructions, and how many millions of all kinds a run of the network takes.
PROCESSORS = [
    ("thumbv7em-none-eabihf", "cortex-m4", "smlad", 5.40),
    ("thumbv8.1m.main-none-eabihf", "cortex-m55", "vmladava", 1.48),
    ("thumbv6m-none-eabi", "cortex-m0plus", "tilewright_products_2x2x", 20.6),
]


@pytest.mark.sweep(3)
@needs_tools
@pytest.mark.parametrize(("triple", "cpu", "said", "millions"), PROCESSORS)
def test_integers_are_those_of_this_machine(triple: str, cpu: str, said: str, millions: float, tmp_path: Path) -> None:
    proto = network("uint8", functions=False, zero=3)
    x = {"x": 2 * np.random.default_rng(1).standard_normal((2, 3, 19, 21)).astype("f4")}
    (expected,) = tilewright.compile(proto, threads=1, jobs=1).run(x).values()

    made = sources(proto, tmp_path, triple, cpu)
    runner = MicrocontrollerRunner(("-std=c99", "-O2", "-ffp-contract=off", *WARNINGS.split()))
    counts = runner.count(made, x)

    np.testing.assert_array_equal(counts.outputs[0], expected)
    assert 0.8 * millions < counts.instructions / 1e6 < 1.1 * millions
    assert said in (made.path / "src" / "net_kernels.c").read_text()


@needs_tools
def test_windows_of_one_channel_are_copied(tmp_path: Path) -> None:
    """Vectors end where a window does: none is read under a mask."""
    generator = np.random.default_rng(2)
    constants = {
        "w": generator.integers(-127, 128, (24, 1, 5, 3)).astype(np.int8),
        **{name: np.float32(value) for name, value in (("s", 0.04), ("sw", 0.01), ("sy", 0.3))},
        **{name: np.int8(value) for name, value in (("z", -7), ("zw", 0), ("zy", 9))},
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], "q", "quantize"),
        node("DequantizeLinear", ["q", "s", "z"], "d", "dequantize"),
        node("DequantizeLinear", ["w", "sw", "zw"], "dw", "weights"),
        node("Conv", ["d", "dw"], "c", "conv", strides=[2, 1], dilations=[1, 2], pads=[2, 1, 1, 3]),
        node("QuantizeLinear", ["c", "sy", "zy"], "r", "requantize"),
        node("DequantizeLinear", ["r", "sy", "zy"], "y", "result"),
    ]
    proto = model(nodes, {"x": ("float32", (2, 1, 15, 11))}, {"y": ("float32", (2, 24, 7, 11))}, constants)
    x = {"x": 2 * generator.standard_normal((2, 1, 15, 11)).astype(np.float32)}
    (expected,) = tilewright.compile(proto, threads=1, jobs=1).run(x).values()

    made = sources(proto, tmp_path, "thumbv8.1m.main-none-eabihf", "cortex-m55")

    np.testing.assert_array_equal(MicrocontrollerRunner().run(made, x)["y"], expected)
    assert set(re.findall(r"tilewright_bytes_\d+", (made.path / "src" / "net_kernels.c").read_text())) == {
        "tilewright_bytes_16"
    }


@needs_tools
def test_vectors_of_floats(tmp_path: Path) -> None:
    made = sources(DIGITS, tmp_path, "thumbv8.1m.main-none-eabihf", "cortex-m55")
    image = np.load(DIGITS.parent / "digits_test.npz")["images"][:1].astype(np.float32).reshape(1, 1, 8, 8)
    (expected,) = onnxruntime.InferenceSession(str(DIGITS)).run(None, {"image": image})
    counts = MicrocontrollerRunner(("-std=c99", "-O2", "-ffp-contract=off", *WARNINGS.split())).count(
        made, {"image": image}
    )

    np.testing.assert_allclose(counts.outputs[0], expected, atol=1e-5 * float(np.abs(expected).max()))
    assert counts.instructions < 1.1 * 801_120  # one for a multiply-add, where numbers one by one take two


@needs_tools
def test_without_floats_in_registers(tmp_path: Path) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], "a", "product"), node("Softmax", ["a"], "y", "softmax")],
        {"x": ("float32", (3, 7))},
        {"y": ("float32", (3, 5))},
        {"w": np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)},
    )
    x = np.random.default_rng(1).standard_normal((3, 7)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    made = sources(proto, tmp_path, "thumbv6m-none-eabi", None)

    np.testing.assert_allclose(MicrocontrollerRunner().run(made, {"x": x})["y"], expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(TensorError, match="shape"):
        MicrocontrollerRunner().run(made, {"x": x[:2]})


@needs_tools
def test_scalars(tmp_path: Path) -> None:
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {"x": ("float32", (3,)), "a": ("float32", ())}
    proto = model([node("Mul", ["x", "a"], "y", "product")], kinds, {"y": ("float32", (3,))})
    build(proto, tmp_path / "net", CompileOptions(target=M4[0], cpu=M4[1], emit="c", name="net", jobs=1))
    x, a = np.array([1, 2, 3], np.float32), np.array(0.5, np.float32)
    found = MicrocontrollerRunner().run(load_sources(tmp_path / "net"), {"x": x, "a": a})
    np.testing.assert_array_equal(found["y"], x * a)


@needs_tools
def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of sources is run, verified and timed as a library is."""
    folder, out = str(sources(DIGITS, tmp_path).path), tmp_path / "y.npz"
    emulated = ["--device", "qemu"]

    assert run(["run", folder, "--random-inputs", *emulated, "-o", str(out)]) == 0
    assert np.load(out)["logits"].shape == (1, 10)
    assert run(["verify", folder, str(DIGITS), *emulated, "--runs", "1"]) == 0
    assert run(["bench", folder, *emulated, "--repeat", "2", "--json"]) == 0
    fails(capsys, ["run", folder, "--random-inputs"], 2, "on a board that is emulated", "--device qemu", "make shared")
    fails(capsys, ["run", folder, "--random-inputs", "--device", "ssh:me@there"], 2, "--device ssh:me@there")
    fails(capsys, ["bench", folder, *emulated, "--threads", "2"], 2, "one thread")
    fails(capsys, ["run", str(tmp_path), *emulated], 4, "no C sources of Tilewright", "--emit c")


@needs_tools
def test_no_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = sources(DIGITS, tmp_path, "host", None)
    fails(capsys, ["run", str(made.path), "--random-inputs", "--device", "qemu"], 5, "no board", "cortex-m55", "make")


@needs_tools
def test_states_come_back(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "h"], "next", "sum"), node("Neg", ["next"], "y", "negative")]
    proto = model(nodes, dict.fromkeys("xh", ("float32", (3,))), dict.fromkeys(("y", "next"), ("float32", (3,))))
    options = CompileOptions(target=M4[0], cpu=M4[1], emit="c", name="net", states={"h": "next"}, jobs=1)
    build(proto, tmp_path / "net", options)
    x, h = np.array([[1, 2, 3], [0.5, -4, 8]], np.float32)
    found = MicrocontrollerRunner().run(load_sources(tmp_path / "net"), {"x": x, "h": h})
    np.testing.assert_array_equal(found["next"], x + h)
    np.testing.assert_array_equal(found["y"], -(x + h))


def test_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microcontroller.shutil, "which", lambda tool: None)
    with pytest.raises(ToolError, match="qemu-system-arm and arm-none-eabi-gcc not found") as caught:
        MicrocontrollerRunner()
    assert "libnewlib-arm-none-eabi" in str(caught.value.hint)
    with pytest.raises(LibraryError, match="no C sources"):
        load_sources(tmp_path)
