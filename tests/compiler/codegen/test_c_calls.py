"""C for microcontrollers: compiled without a warning at every level, it calls nothing but what the header lists."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from c_sources import WARNINGS
from elementwise_cases import FLOATS, INTEGERS, elementwise_model
from integer_cases import sample
from quantized_network import network
from small_models import model, node
from tilewright.benchmarks.decoders import Decoder, decoder
from tilewright.compiler.build import build
from tilewright.compiler.codegen.c_kernel import KernelInC, Parameter
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.microcontroller import missing_tools

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")
M0, M7, M55 = "thumbv6m-none-eabi", "thumbv7em-none-eabihf", "thumbv8.1m.main-none-eabihf"
SLOW = pytest.mark.slow


def listed(header: str) -> set[str]:
    """What a header says that is called."""
    said = header.partition("What is called of libraries: ")[2].partition(".\n")[0]
    return set(said.replace(" (which compilers make of loops)", "").split(", "))


def unlisted(folder: Path, level: str) -> set[str]:
    """What the code calls besides; functions of the compiler itself, __aeabi_fadd, are no library's."""
    command = ["make", "-s", "-B", "CC=arm-none-eabi-gcc", "AR=arm-none-eabi-ar", f"CFLAGS={level} {WARNINGS}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = subprocess.run(["arm-none-eabi-nm", "libnet.a"], cwd=folder, capture_output=True, text=True).stdout
    called = {line.split()[-1] for line in lines.splitlines() if " U " in line}
    own = {each for each in called if each.startswith(("net_", "__aeabi_", "__gnu_"))}
    return called - own - listed((folder / "src" / "net.h").read_text())


def sources(proto: onnx.ModelProto, folder: Path, target: str, **options: Any) -> Path:
    return build(proto, folder, CompileOptions(emit="c", name="net", jobs=1, target=target, **options)).path


@pytest.mark.parametrize("target", [M55, pytest.param(M0, marks=SLOW)])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_elementwise_operators(dtype: str, target: str, tmp_path: Path) -> None:
    """All functions that code may call: in vectors, or again without."""
    assert not unlisted(sources(elementwise_model(dtype), tmp_path / "net", target), "-O2")


@pytest.mark.parametrize("target", [M7, pytest.param(M55, marks=SLOW)])
@pytest.mark.parametrize("dtype", [pytest.param(each, marks=pytest.mark.sweep(2)) for each in INTEGERS])
def test_expressions_of_integers(dtype: str, target: str, tmp_path: Path) -> None:
    assert not unlisted(sources(sample(dtype).model, tmp_path / "net", target), "-O2")


def recurrent(operator: str, gates: int, steps: int = 6, **attributes: Any) -> onnx.ModelProto:
    """Its state of the end is a result; both directions begin with zeros, of which there is one constant."""
    ways, hidden = (2 if attributes else 1), 5
    made = np.random.default_rng(0).standard_normal((ways, gates * hidden, 3 + hidden)).astype(np.float32)
    return model(
        [onnx.helper.make_node(operator, ["x", "w", "r"], ["y", "last"], "layer", hidden_size=hidden, **attributes)],
        {"x": ("float32", (steps, 2, 3))},
        {"y": ("float32", (steps, ways, 2, hidden)), "last": ("float32", (ways, 2, hidden))},
        {"w": made[..., :3].copy(), "r": made[..., 3:].copy()},
    )


def kept() -> onnx.ModelProto:
    """A window of the past, from which the oldest goes."""
    nodes = [
        node("Concat", ["past", "x"], "all", "joined", axis=1),
        node("Slice", ["all", "one", "end", "one"], "next", "newest"),
        node("ReduceSum", ["next", "one"], "y", "sum", keepdims=0),
    ]
    kinds = {"past": ("float32", (1, 8, 5)), "x": ("float32", (1, 1, 5))}
    constants = {"one": np.array([1]), "end": np.array([9])}
    return model(nodes, kinds, {"next": ("float32", (1, 8, 5)), "y": ("float32", (1, 5))}, constants)


_CACHES = {"ranges": {"past": (0, 8), "seq": (1, 4)}}
MODELS: dict[str, tuple[onnx.ModelProto, dict[str, Any]]] = {
    "lstm": (recurrent("LSTM", 4, direction="bidirectional"), {}),
    "gru": (recurrent("GRU", 3), {}),
    "rnn": (recurrent("RNN", 1), {}),
    "int8": (network("int8"), {}),
    "ranges and states": (decoder(Decoder(layers=1, width=24, heads=4, groups=2, room=24)), _CACHES),
    "state": (kept(), {"states": {"past": "next"}}),
}


@pytest.mark.parametrize("target", [M0, M7, M55])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_called_is_listed(name: str, target: str, tmp_path: Path) -> None:
    proto, options = MODELS[name]
    folder = sources(proto, tmp_path / "net", target, **options)
    for level in ("-O2", "-O3", "-Os"):
        assert not unlisted(folder, level), level


def test_memmove_is_listed_where_memory_is_shared() -> None:
    """One pointer that is not restrict is enough for GCC."""
    parameters = (Parameter("x", "float32", False, False), *(Parameter(name, "float32", True) for name in "yz"))

    def moves(to: str, source: str) -> bool:
        return KernelInC("k", parameters, (), frozenset([(to, source)])).moves

    assert moves("y", "x") and moves("y", "y") and not moves("y", "z")


HELPERS = ("max_int32", "M_PI", "linux", "sinf", "expm1", "int8_t", "v_load_float32", "memmove")


def test_tensors_that_are_named_as_what_the_sources_use(tmp_path: Path) -> None:
    """Each is read by a kernel of its own that uses some of it."""
    shapes = {name: (2, 3 + number) for number, name in enumerate(HELPERS)}
    nodes = [node("Sin", [name], f"sine of {name}", f"sine of {name}") for name in HELPERS[1:]]
    nodes.append(node("Max", ["max_int32", "least"], "largest", "max"))
    proto = model(
        nodes,
        {name: ("int32" if name == "max_int32" else "float32", shape) for name, shape in shapes.items()},
        {"largest": ("int32", (2, 3)), **{f"sine of {name}": ("float32", shapes[name]) for name in HELPERS[1:]}},
        {"least": np.array([3], np.int32)},
    )
    assert not unlisted(sources(proto, tmp_path / "net", M7), "-O2")
