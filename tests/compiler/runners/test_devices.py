"""Libraries for other processors, run in qemu-user; the other places that `--device` names; and what each needs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tilewright
from command_line import DIGITS, fails
from onnx import TensorProto
from quantized_network import network
from small_models import model, node, swish_network
from tilewright.compiler.build import build
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import CompiledModel, load, read_file
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.library.library_file import LibraryFile
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners import places
from tilewright.compiler.runners.device import DeviceRunner, printed_by
from tilewright.compiler.runners.places import place_of
from tilewright.compiler.verification.verify import verify
from tilewright.errors import DeviceLostError, TensorError, ToolError, UnsupportedTargetError, UsageError
from tilewright.targets.architectures import architecture_of

MODELS = Path(__file__).parents[2] / "models"
# A triple, a CPU, and features.
MACHINES = [
    ("aarch64-linux-gnu", "cortex-a72", ()),
    ("armv7-linux-gnueabihf", "cortex-a7", ()),
    ("armv7-linux-gnueabihf", "cortex-a9", ()),
    ("riscv64-linux-gnu", None, ()),
    ("riscv64-linux-gnu", None, ("+v",)),
    ("riscv64-linux-gnu", "spacemit-x60", ()),
]
GENERIC_ARM = ("armv7-linux-gnueabihf", None, ())
Machine = tuple[str, str | None, tuple[str, ...]]


def label(machine: Machine) -> str:
    return " ".join([machine[0].partition("-")[0], machine[1] or "", *machine[2]])


def options(machine: Machine, **more: Any) -> CompileOptions:
    triple, cpu, features = machine
    return CompileOptions(triple, cpu=cpu, features=features, jobs=1, **more)


def need_qemu(machine: Machine, *, libc: bool) -> None:
    architecture = architecture_of(machine[0].partition("-")[0])
    assert architecture is not None
    if shutil.which(f"qemu-{architecture.emulator}") is None:
        pytest.skip(f"there is no qemu-{architecture.emulator}: install qemu-user")
    package = f"libc6-{architecture.debian}-cross"
    name = f"{architecture.zig or architecture.name}-linux-gnu{architecture.abi}"
    if libc and not any(Path("/usr", name).glob("lib*/ld-*")):
        pytest.skip(f"there is no C library for {machine[0]}: install {package}")


def compiled(model: Any, machine: Machine, path: Path, **more: Any) -> LibraryFile:
    build(model, path, options(machine, **more))
    return read_file(path)


@pytest.mark.slow  # the first program for an architecture waits a minute for its C library
@pytest.mark.parametrize("machine", MACHINES, ids=label)
def test_programs_check_themselves(machine: Machine, tmp_path: Path) -> None:
    need_qemu(machine, libc=False)
    proto = swish_network()

    program = compiled(proto, machine, tmp_path / "net", emit="bench", threads=1)

    assert verify(program, proto, runs=1, runner=DeviceRunner(place_of("qemu"))).passed
    found = printed_by(place_of("qemu").execute(program.signature, tmp_path, ["net"]), "qemu")
    assert "output y: max |error|" in found and "runs: min " in found and found.endswith("PASSED\n")
    damaged = tmp_path / "damaged"
    data = bytearray(program.path.read_bytes())
    expected = load_here(proto, tmp_path).run(random_inputs(program.signature.inputs, 0))["y"].tobytes()
    data[data.index(expected) + 3] ^= 0x40  # the exponent of the first
    damaged.write_bytes(data)
    damaged.chmod(0o755)
    with pytest.raises(ToolError) as caught:
        printed_by(place_of("qemu").execute(program.signature, tmp_path, ["damaged"]), "qemu")
    assert "code 1" in str(caught.value)


def load_here(network: Any, folder: Path) -> CompiledModel:
    build(network, folder / "here.so", CompileOptions(threads=1, jobs=1))
    return load(folder / "here.so")


@pytest.mark.parametrize(
    "machine", [MACHINES[1], *(pytest.param(MACHINES[i], marks=pytest.mark.slow) for i in (0, 3, 4, 5))], ids=label
)
def test_integers_are_those_of_this_machine(machine: Machine, tmp_path: Path) -> None:
    need_qemu(machine, libc=True)
    proto = network("uint8", functions=False)
    library = compiled(proto, machine, tmp_path / "net.so", threads=1)
    values = random_inputs(library.signature.inputs, 0)
    expected = tilewright.compile(proto, threads=1, jobs=1).run(values)

    actual = DeviceRunner(place_of("qemu")).run(library, values)

    assert {name: array.tobytes() for name, array in actual.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


@pytest.mark.sweep(3)
@pytest.mark.parametrize("machine", [MACHINES[0], MACHINES[1], MACHINES[5]], ids=label)
def test_libraries_with_threads(machine: Machine, tmp_path: Path) -> None:
    need_qemu(machine, libc=True)
    library = compiled(str(DIGITS), machine, tmp_path / "digits.so", threads=3)

    exported = [s.name for s in Elf(library.path.read_bytes()).symbols(dynamic=True) if s.is_global and s.is_defined]
    assert sorted(exported) == sorted(f"digits_{name}" for name in API)
    values = random_inputs(library.signature.inputs, 0)
    one, three = (DeviceRunner(place_of("qemu"), threads).run(library, values)["logits"] for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    assert verify(library, str(DIGITS), runs=1, runner=DeviceRunner(place_of("qemu"))).passed
    assert len(DeviceRunner(place_of("qemu")).time(library, values, runs=4)) >= 4
    with pytest.raises(UnsupportedTargetError, match="--device"):
        load(library.path)


API = (
    *("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes"),
    "set_num_threads",
)


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES, ids=label)
@pytest.mark.parametrize("name", sorted(path.stem for path in MODELS.glob("*.onnx")))
def test_small_models(name: str, machine: Machine, tmp_path: Path) -> None:
    need_qemu(machine, libc=True)
    model = str(MODELS / f"{name}.onnx")
    library = compiled(model, machine, tmp_path / "net.so")

    try:
        found = verify(library, model, runs=1, runner=DeviceRunner(place_of("qemu")))
    except ToolError as error:
        if "Assertion `ctx->insn_start" not in str(error):
            raise
        pytest.skip("qemu 7.2 itself fails at some vector instructions of RISC-V")
    assert found.passed


@pytest.mark.parametrize("rows", [7, 1])
def test_products_of_bfloat16(rows: int, tmp_path: Path) -> None:
    """Two rows at once, the last one with one that is not there; and a single row."""
    machine = ("aarch64-linux-gnu", "neoverse-v1", ())
    need_qemu(machine, libc=True)
    generator = np.random.default_rng(0)
    x, weights = (generator.standard_normal(shape).astype("f4") for shape in ((rows, 72), (72, 40)))
    shapes = {"x": ("float32", x.shape)}, {"y": ("float32", (rows, 40))}
    network = model([node("MatMul", ["x", "w"], "y", "dense")], *shapes, {"w": weights})

    library = compiled(network, machine, tmp_path / "net.so", threads=1, precision="bf16")
    actual = DeviceRunner(place_of("qemu")).run(library, {"x": x})["y"]

    assert "bf16" in library.signature.cpu_features
    assert 1e-5 < np.abs(actual - x @ weights).max() / np.abs(x @ weights).max() < 1e-2


@pytest.mark.parametrize(
    "machine", [MACHINES[3], MACHINES[4], pytest.param(MACHINES[5], marks=pytest.mark.slow), GENERIC_ARM], ids=label
)
def test_float16_without_instructions_for_it(machine: Machine, tmp_path: Path) -> None:
    """Each result is rounded; no function takes a float16 in a register, of which two compilers think differently."""
    need_qemu(machine, libc=True)
    nodes = [
        node("Mul", ["x", "y"], "p", "product"),
        node("Add", ["p", "third"], "s", "sum"),
        node("Cast", ["s"], "d", "wide", to=TensorProto.DOUBLE),
        node("Mul", ["d", "factor"], "e", "scaled"),
        node("Cast", ["e"], "h", "narrow", to=TensorProto.FLOAT16),
        node("MatMul", ["s", "w"], "m", "dense"),
    ]
    generator = np.random.default_rng(0)
    x, y, w = (generator.standard_normal(shape).astype("f2") for shape in ((9, 21), (9, 21), (21, 13)))
    third, factor = np.float16(0.3), np.array(1.2345)
    outputs = {"s": ("float16", x.shape), "h": ("float16", x.shape), "m": ("float16", (9, 13))}
    constants = {"third": np.array(third), "factor": factor, "w": w}
    proto = model(nodes, {"x": ("float16", x.shape), "y": ("float16", y.shape)}, outputs, constants)

    library = compiled(proto, machine, tmp_path / "net.so", threads=1)
    actual = DeviceRunner(place_of("qemu")).run(library, {"x": x, "y": y})

    sums = x * y + third
    np.testing.assert_array_equal(actual["s"], sums)
    np.testing.assert_array_equal(actual["h"], (sums * factor).astype("f2"))
    np.testing.assert_allclose(actual["m"], sums.astype("f4") @ w.astype("f4"), rtol=2**-11, atol=2e-3)


def test_a_processor_without_what_the_library_needs(tmp_path: Path) -> None:
    machine = MACHINES[4]
    need_qemu(machine, libc=True)
    library = compiled(swish_network(), machine, tmp_path / "net.so", threads=1)
    values = random_inputs(library.signature.inputs, 0)

    with pytest.raises(ToolError, match="lacks instructions"):
        DeviceRunner(place_of("exec:qemu-riscv64 -L /usr/riscv64-linux-gnu")).run(library, values)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> LibraryFile:
    path = tmp_path_factory.mktemp("here") / "net.so"
    build(swish_network(), path, CompileOptions(threads=1, jobs=1))
    return read_file(path)


def test_behind_a_command(here: LibraryFile) -> None:
    runner, values = DeviceRunner(place_of("exec:env A=b")), random_inputs(here.signature.inputs, 0)

    np.testing.assert_array_equal(runner.run(here, values)["y"], load(here.path).run(values)["y"])
    with pytest.raises(TensorError, match="no input 'z'"):
        runner.run(here, {**values, "z": values["x"]})
    with pytest.raises(TensorError, match="'x' is missing"):
        runner.run(here, {})
    with pytest.raises(ToolError, match="no command"):
        DeviceRunner(place_of("exec:no-such-command")).run(here, values)
    for command, said in (("false", "ended with code 1"), ("true", "wrote no results")):
        with pytest.raises(ToolError, match=said) as caught:
            DeviceRunner(place_of(f"exec:{command}")).run(here, values)
        assert "has to start the program whose words follow it" in str(caught.value.hint)


def test_a_command_is_found_from_here(here: LibraryFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the program runs in a folder of its own."""
    (tmp_path / "on-board.sh").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "on-board.sh").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    values = random_inputs(here.signature.inputs, 0)

    found = DeviceRunner(place_of("exec:./on-board.sh")).run(here, values)["y"]

    np.testing.assert_array_equal(found, load(here.path).run(values)["y"])


def test_a_program_that_does_not_start(here: LibraryFile, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("#!/bin/sh\necho ./program: not found >&2; exit 127\n")
    (tmp_path / "there").chmod(0o755)
    with pytest.raises(ToolError, match=r"(?s)does not start there: code 127.*not found.*--emit bench"):
        DeviceRunner(place_of(f"exec:{tmp_path / 'there'}")).run(here, random_inputs(here.signature.inputs, 0))


def test_behind_ssh(here: LibraryFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in the place of ssh and scp, which do the same on this machine."""
    for name, script in (
        ("ssh", 'while [ "$1" = -o ]; do shift 2; done; [ "$1" = me@there ] && shift && exec sh -c "$*"'),
        (
            "scp",
            "shift 3; for i; do last=${i#me@there:}; done; for i; do i=${i#me@there:}; "
            '[ "$i" = "$last" ] || cp $i "$last"; done',
        ),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    values = random_inputs(here.signature.inputs, 0)

    found = DeviceRunner(place_of("ssh:me@there")).run(here, values)["y"]

    np.testing.assert_array_equal(found, load(here.path).run(values)["y"])
    with pytest.raises(DeviceLostError, match=r"(?s)does not answer.*`ssh you@there true`.*ssh-copy-id you@there"):
        DeviceRunner(place_of("ssh:you@there")).run(here, values)


@pytest.mark.parametrize("device", ["", "qemu:aarch64", "ssh:", "ssh:-oProxyCommand=x", "exec:", "exec: ", "wine"])
def test_no_device(device: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        place_of(device)


def test_what_is_missing(here: LibraryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    values = random_inputs(here.signature.inputs, 0)
    monkeypatch.setattr(places, "shutil", SimpleNamespace(which=lambda name: None))
    with pytest.raises(ToolError, match=r"(?s)is not installed.*apt-get install qemu-user"):
        DeviceRunner(place_of("qemu")).run(here, values)
    with pytest.raises(ToolError, match=r"(?s)ssh is not installed.*openssh-client"):
        DeviceRunner(place_of("ssh:me@there")).run(here, values)
    monkeypatch.setenv("QEMU_LD_PREFIX", "/nowhere")
    monkeypatch.setattr(places, "shutil", SimpleNamespace(which=lambda name: f"/usr/bin/{name}"))
    with pytest.raises(ToolError, match=r"(?s)no C library .* /nowhere.*libc6-amd64-cross.*--emit bench"):
        DeviceRunner(place_of("qemu")).run(here, values)


def test_commands(here: LibraryFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = str(here.path)
    from tilewright.compiler.cli.main import run

    assert run(["run", library, "--random-inputs", "--device", "exec:env", "-o", str(tmp_path / "y.npz")]) == 0
    assert run(["bench", library, "--repeat", "2", "--device", "exec:env"]) == 0
    assert np.load(tmp_path / "y.npz")["y"].shape == (4, 16)
    fails(capsys, ["bench", library, "--kernels", "--device", "exec:env"], 2, "--device")
    fails(capsys, ["run", library, "--random-inputs", "--device", "wine"], 2, "qemu, exec:COMMAND, ssh:USER@HOST")
    fails(capsys, ["verify", library, library, "--device", "qemu", "--bisect"], 2, "--bisect")
