"""Libraries on disk: right results for every dtype, the same bytes each time, and nothing left when it fails."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import MLP_INPUTS, Inputs, built, emitted, mlp, mlp_reference
from tilewright.compiler.library.artifact import load
from tilewright.compiler.library.tensor_spec import ELEMENT_BYTES
from tilewright.compiler.process import install
from tilewright.compiler.process.places import check_output
from tilewright.errors import OutputError, ToolError, UsageError
from tilewright.targets import toolchain
from tilewright.targets.toolchain import Toolchain, find_toolchain
from tvm import relax, te

API = [
    *("net_run", "net_set_num_threads", "net_signature", "net_workspace_size"),
    *("net_num_inputs", "net_num_outputs", "net_input_bytes", "net_output_bytes"),
]


def tool_output(*command: object) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def mlp_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("mlp"), MLP_INPUTS, mlp).path


def test_it_computes_what_numpy_does(mlp_library: Path) -> None:
    x = np.random.default_rng(0).standard_normal((5, 24), dtype=np.float32)

    # 40 float32 products in a row differ from float64 by some 1e-6 of sums near 10, and tanh flattens that.
    np.testing.assert_allclose(load(mlp_library)(x), mlp_reference(x), atol=1e-5)


def test_every_dtype_scalars_and_empty_tensors(tmp_path: Path) -> None:
    dtypes = list(ELEMENT_BYTES)
    inputs: Inputs = {
        **{dtype: ((3, 5), dtype) for dtype in dtypes},
        "scalar": ((), "float32"),
        "empty": ((2, 0), "int64"),
        "unused": ((7,), "int8"),
    }

    def body(emit: Callable[..., Any], *values: Any) -> list[Any]:
        by_name = dict(zip(inputs, values, strict=True))
        flipped = [emit(relax.op.flip(by_name[dtype], 0)) for dtype in dtypes]
        return [*flipped, emit(relax.op.exp(by_name["scalar"])), by_name["empty"], by_name["bool"]]

    names = [*(f"{dtype} flipped" for dtype in dtypes), "e", "nothing", "bool itself"]
    model = load(emitted(tmp_path, inputs, body, outputs=names).path)
    generator = np.random.default_rng(1)
    values = {
        spec.name: generator.integers(0, 2 if spec.dtype == "bool" else 100, spec.shape).astype(
            emission_dtype(spec.dtype)
        )
        for spec in model.inputs
    }
    results = model.run(values)

    for dtype in dtypes:
        flipped = results[f"{dtype} flipped"]
        assert flipped.dtype == values[dtype].dtype
        assert flipped.tobytes() == values[dtype][::-1].tobytes()
    np.testing.assert_allclose(results["e"], np.exp(values["scalar"]), rtol=1e-6)
    assert results["e"].shape == () and results["nothing"].shape == (2, 0)
    assert results["bool itself"].tobytes() == values["bool"].tobytes()


def emission_dtype(dtype: str) -> Any:
    from tilewright.dtypes import numpy_dtype

    return numpy_dtype(dtype)


def test_reductions_over_nothing(tmp_path: Path) -> None:
    result = emitted(tmp_path, {"x": ((3, 0), "float32")}, lambda emit, x: [emit(relax.op.sum(x, axis=1))])

    np.testing.assert_array_equal(load(result.path)(np.zeros((3, 0), np.float32)), np.zeros(3, np.float32))


def test_the_same_module_gives_the_same_bytes(tmp_path: Path) -> None:
    for kind in ("so", "a"):
        files = []
        for folder in (tmp_path / kind / "one", tmp_path / kind / "another_place"):
            folder.mkdir(parents=True)
            result = emitted(folder, MLP_INPUTS, mlp, emit=kind)
            files.append((result.path.read_bytes(), result.header.read_bytes()))
        assert files[0] == files[1]
        assert b"/tmp" not in files[0][0] and os.fsencode(tmp_path) not in files[0][0]


def test_it_exports_the_api_alone_and_needs_libc_alone(mlp_library: Path) -> None:
    exported = [line.split()[-1] for line in tool_output("nm", "-D", "--defined-only", mlp_library).splitlines()]
    needed = {line.split()[0] for line in tool_output("ldd", mlp_library).splitlines()}

    assert sorted(exported) == sorted(API)
    allowed = {"linux-vdso.so.1", "libm.so.6", "libc.so.6", "libpthread.so.0", "/lib64/ld-linux-x86-64.so.2"}
    assert needed <= allowed


def test_one_thread_means_no_threads(tmp_path: Path) -> None:
    library = emitted(tmp_path, MLP_INPUTS, mlp, threads=1)
    symbols = tool_output("nm", library.path)

    assert "pthread" not in symbols and "pool" not in symbols and "set_num_threads" not in library.header.read_text()
    x = np.ones((5, 24), np.float32)
    np.testing.assert_allclose(load(library.path)(x), mlp_reference(x), atol=1e-5)


def test_weights_are_read_only_and_aligned(mlp_library: Path) -> None:
    symbol = next(line for line in tool_output("nm", mlp_library).splitlines() if line.endswith("net_weights_"))
    address, kind, _ = symbol.split()

    assert kind == "r" and int(address, 16) % 64 == 0


def test_kernels_that_are_the_same_are_compiled_once(tmp_path: Path) -> None:
    def body(emit: Callable[..., Any], x: Any) -> list[Any]:
        for seed in range(4):
            weight = np.random.default_rng(seed).standard_normal((24, 24)).astype("float32") / 8
            x = emit(relax.op.nn.relu(emit(relax.op.matmul(x, relax.const(weight)))))
        return [x]

    plan = emitted(tmp_path, MLP_INPUTS, body).plan

    assert len(plan.steps) == 4 and len(plan.kernels) == 1


def test_kernels_that_differ_in_names_alone_are_compiled_once(tmp_path: Path) -> None:
    def double(x: Any, name: str) -> Any:
        y = te.compute(x.shape, lambda i, j: x[i, j] * 2.0, name=f"{name}_product")
        return te.create_prim_func([x, y]).with_attr("global_symbol", name)

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 8), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            value: relax.Expr = x
            for name in ("first", "second", "third"):
                function = builder.add_func(double(te.placeholder((4, 8), name=f"{name}_input"), name), name)
                value = builder.emit(relax.call_tir(function, [value], relax.TensorType((4, 8), "float32")))
            result = builder.emit_output(relax.Tuple([value]))
        builder.emit_func_output(result)
    module = builder.get()
    emitted = built(module, tmp_path / "net.so", outputs=["y"])

    assert len(module.functions) == 4
    assert len(emitted.plan.steps) == 3 and len(emitted.plan.kernels) == 1
    values = np.random.default_rng(0).standard_normal((4, 8), dtype=np.float32)
    np.testing.assert_array_equal(load(emitted.path)(values), values * 8)


def test_a_header_for_c_and_cpp(tmp_path: Path) -> None:
    inputs: Inputs = {"images/0:*/": ((1, 3), "float32"), "images_0": ((), "bool"), "int": ((2,), "int64")}
    header = emitted(tmp_path, inputs, lambda emit, a, b, c: [emit(relax.op.exp(a)), b, c], outputs=3).header
    (tmp_path / "user.c").write_text('#include "net.h"\nint sizes[net_NUM_INPUTS + net_BYTES_INPUT_int_model];\n')
    shutil.copy(tmp_path / "user.c", tmp_path / "user.cpp")

    assert "'images/0:* /'" in header.read_text()
    for compiler, file in (("cc", "user.c"), ("c++", "user.cpp")):
        if shutil.which(compiler):
            flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
            subprocess.run([compiler, *flags, file], cwd=tmp_path, check=True)


def test_nothing_is_left_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, descriptor: int) -> None:
        os.write(descriptor, b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(install, "copy", full)
    with pytest.raises(OutputError, match="No space left"):
        emitted(tmp_path, MLP_INPUTS, mlp)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "net.so").write_bytes(b"an older library")
    monkeypatch.setattr(install, "copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        emitted(tmp_path, MLP_INPUTS, mlp)
    assert [file.name for file in tmp_path.iterdir()] == ["net.so"]
    assert (tmp_path / "net.so").read_bytes() == b"an older library"


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.so").mkdir()
    cases = {
        tmp_path / "missing" / "net.so": "does not exist",
        tmp_path / "folder.so": "is a folder",
        tmp_path / "net.h": "own header",
        Path("/proc/net.so"): "cannot be written",
    }
    for output, message in cases.items():
        with pytest.raises(OutputError, match=message):
            check_output(output)


@pytest.mark.parametrize(
    ("option", "value"), [("name", "no-name"), ("threads", 0), ("emit", "exe"), ("jobs", 0), ("precision", "fp8")]
)
def test_wrong_options(tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(UsageError):
        emitted(tmp_path, MLP_INPUTS, mlp, **{option: value})


def test_a_tool_that_fails_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\nfor i in $(seq 40); do echo line $i; done\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr(toolchain, "_host", lambda triple: Toolchain("broken", (str(broken),), ("ar",)))
    out = tmp_path / "out"
    out.mkdir()

    with pytest.raises(ToolError, match="exit code 7") as caught:
        emitted(out, MLP_INPUTS, mlp)
    assert caught.value.details[-1] == "line 40" and len(caught.value.details) == 12
    assert list(out.iterdir()) == []


def test_a_tool_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        Toolchain("none", ("/nowhere/cc",), ("ar",)).run(["/nowhere/cc"], tmp_path)


def test_the_host_links_for_itself_and_zig_for_the_rest() -> None:
    assert find_toolchain("x86_64-unknown-linux-gnu").name != "zig"
    assert find_toolchain("aarch64-unknown-linux-gnu").name == "zig"
    assert "x86_64-linux-musl" in find_toolchain("x86_64-unknown-linux-musl").cc


@pytest.mark.slow  # zig's first link builds its C library: minutes
def test_zig_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_host", lambda triple: None)
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        files.append(emitted(folder, MLP_INPUTS, mlp).path)
    x = np.random.default_rng(0).standard_normal((5, 24), dtype=np.float32)

    np.testing.assert_allclose(load(files[0])(x), mlp_reference(x), atol=1e-5)
    assert files[0].read_bytes() == files[1].read_bytes()
    exported = [line.split()[-1] for line in tool_output("nm", "-D", "--defined-only", files[0]).splitlines()]
    assert sorted(exported) == sorted(API)
