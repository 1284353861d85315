"""The runner of microcontrollers: C sources built for an emulated board, which counts the instructions of a run.

qemu-system-arm runs one instruction a nanosecond (-icount shift=0), so that the board's clock counts instructions: in
steps of 40 with its 25 MHz. Files pass between the board and here by semihosting.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import numpy as np

from ...dtypes import numpy_dtype
from ...errors import LibraryError, TensorError, ToolError
from ..emission.tensor_notes import tensor_notes
from ..library.arrays import checked, results_of, states_after
from ..library.dimensions import Values, at, sizes_of_call
from ..library.signature import Signature, parse_signature
from ..library.tensor_spec import TensorSpec
from ..process.temporary import temporary_folder
from .boards import BOARDS, Board
from .runner import Array, Inputs, Library

_FIRMWARE = resources.files(f"{__package__}.firmware")
_EMULATOR, _COMPILER, _SIZE = "qemu-system-arm", "arm-none-eabi-gcc", "arm-none-eabi-size"
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {_EMULATOR: "qemu-system-arm", _COMPILER: "gcc-arm-none-eabi libnewlib-arm-none-eabi"}
)
_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
_LINK = ("-nostartfiles", "-specs=nano.specs", "-specs=nosys.specs", "-Wl,--gc-sections", "-T", "memory.ld")
_SECONDS = 300  # that an emulation may take
_NANOSECONDS = 1_000_000_000
_NO_SIZES: Values = MappingProxyType({})
_COUNTS = 2  # numbers before the outputs: ticks, and bytes of stack


@dataclass(frozen=True)
class Sources:
    """A folder that `--emit c` wrote, as runners take it.

    Attributes:
        path: the folder.
        signature: what it says of itself.
    """

    path: Path
    signature: Signature


@dataclass(frozen=True)
class Counts:
    """What a run on a board took.

    Attributes:
        outputs: in the order of the model's.
        states: inputs that come back, by name.
        instructions: of one inference, within a tick of the board's clock.
        stack_bytes: that it used.
        flash_bytes: code, constants and initial values of all that the call needs, without what libc has.
        ram_bytes: static variables of the same.
    """

    outputs: tuple[Array, ...]
    states: Mapping[str, Array]
    instructions: int
    stack_bytes: int
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Program:
    """C code that runs a model, whoever wrote it.

    Attributes:
        sources: the .c files.
        header: that declares what `call` calls.
        call: of a function; the tensors are ``tensor_0``, ``tensor_1``, ..., inputs first.
        inputs, outputs: the tensors.
        flags: of the compiler, for the processor.
        cpu: the processor.
        states: the names of inputs that `call` changes.
    """

    sources: tuple[Path, ...]
    header: Path
    call: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    flags: tuple[str, ...]
    cpu: str
    states: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """The name of the function that is called."""
        return self.call.partition("(")[0]


def missing_tools() -> list[str]:
    """The tools that are not installed."""
    return [tool for tool in _PACKAGES if shutil.which(tool) is None]


def tool_versions() -> str:
    """What compiles and what emulates, as they call themselves."""
    first = (_run([tool, "--version"], Path()).splitlines()[0] for tool in (_COMPILER, _EMULATOR))
    return "; ".join(first)


def load_sources(folder: Path) -> Sources:
    """Reads what `--emit c` wrote.

    Raises:
        LibraryError: the folder holds nothing of the kind.
    """
    for path in sorted(folder.glob("*.json")):
        if (folder / "src" / path.with_suffix(".h").name).is_file():
            return Sources(folder, parse_signature(path.read_text(), str(path)))
    raise LibraryError("there are no C sources of Tilewright", where=str(folder), hint="compile with --emit c")


def program_of(sources: Library, flags: Sequence[str], values: Values = _NO_SIZES) -> Program:
    """The program of a folder of sources, for some values of their dimensions."""
    name, signature = sources.signature.name, sources.signature
    arguments = [f"tensor_{place}" for place in range(len(signature.inputs) + len(signature.outputs))]
    if signature.dimensions:
        numbers = ", ".join(str(values[dimension.name]) for dimension in signature.dimensions)
        arguments.append(f"(const int64_t[]){{{numbers}}}")
    return Program(
        sources=tuple(sorted((sources.path / "src").glob("*.c"))),
        header=sources.path / "src" / f"{name}.h",
        call=f"{name}_run({', '.join(arguments)})",
        inputs=tuple(at(spec, signature.dimensions, values) for spec in signature.inputs),
        outputs=tuple(at(spec, signature.dimensions, values) for spec in signature.outputs),
        flags=tuple(flags),
        cpu=signature.cpu,
        states=tuple(state.before.name for state in signature.states),
    )


class MicrocontrollerRunner:
    """Runs C sources for Cortex-M on an emulated board."""

    def __init__(self, flags: Sequence[str] = _FLAGS) -> None:
        """Gets ready; `flags` are the compiler's, besides those for the processor.

        Raises:
            ToolError: a tool is not installed.
        """
        self._flags = tuple(flags)
        self._timed: tuple[Library, Inputs, float] | None = None
        self._compiled: dict[tuple[tuple[str, ...], Path, int], bytes] = {}
        if missing := missing_tools():
            raise ToolError(
                f"{' and '.join(missing)} not found",
                where="--device qemu",
                hint="on Debian and Ubuntu: apt-get install " + " ".join(_PACKAGES[tool] for tool in missing),
            )

    def run(self, library: Library, inputs: Inputs) -> dict[str, Array]:
        """Runs once.

        Raises:
            TensorError: an input is missing or has another shape or dtype.
            ToolError: there is no board for it, the sources cannot be built, or the board ends with an error.
        """
        signature, counts = library.signature, self.count(library, inputs)
        after = states_after(signature, counts.states, sizes_of_call(signature, inputs))
        return {**results_of(signature, counts.outputs), **after}

    def time(self, library: Library, inputs: Inputs, *, runs: int = 1, seconds: float = 0) -> list[float]:
        """The seconds of as many runs if every instruction took a tick of the board's clock; all are the same.

        Raises:
            TensorError, ToolError: as `run`.
        """
        if self._timed is None or self._timed[0] is not library or self._timed[1] is not inputs:
            count = self.count(library, inputs).instructions
            self._timed = (library, inputs, count / BOARDS[library.signature.cpu].clock_hz)
        return [self._timed[2]] * max(1, runs)

    def count(self, library: Library, inputs: Inputs) -> Counts:
        """Runs once, and tells what it took.

        Raises:
            TensorError, ToolError: as `run`.
        """
        from ...targets import parse

        signature = library.signature
        if signature.cpu not in BOARDS:
            raise ToolError(
                f"there is no board with a {signature.cpu} of {signature.triple}",
                where=f"--device qemu, {library.path}",
                hint=f"boards have: {', '.join(BOARDS)}; sources for other machines are built there, by make",
            )
        flags = parse(signature.triple, cpu=signature.cpu).c_flags
        arrays, values = checked(signature, inputs, str(library.path))
        return self.count_program(program_of(library, flags, values), arrays)

    def count_program(self, program: Program, inputs: Sequence[Array]) -> Counts:
        """Runs a program once, and tells what it took."""
        data = b"".join(_bytes_of(spec, array) for spec, array in zip(program.inputs, inputs, strict=True))
        with temporary_folder() as folder:
            self.link(program, folder)
            (folder / "inputs.bin").write_bytes(data)
            board = BOARDS[program.cpu]
            _run([*_emulation(board), "-kernel", "firmware.elf"], folder)
            ticks, stack, outputs, states = _results(program, (folder / "outputs.bin").read_bytes())
            instructions = ticks * _NANOSECONDS // board.clock_hz
            return Counts(outputs, states, instructions, stack, *self._sizes(program, folder))

    def link(self, program: Program, folder: Path) -> Path:
        """Builds the firmware in a folder."""
        values = {
            "name": program.header.stem,
            "header": program.header.name,
            "call": program.call,
            "inputs": tensor_notes(program.inputs),
            "outputs": tensor_notes(program.outputs),
            "states": [place for place, spec in enumerate(program.inputs) if spec.name in program.states],
            "board": BOARDS[program.cpu],
        }
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        for name in ("main.c", "memory.ld"):
            text = environment.from_string((_FIRMWARE / f"{name}.jinja").read_text()).render(values)
            (folder / name).write_text(text)
        for name in ("startup.c", "startup.h"):
            (folder / name).write_text((_FIRMWARE / name).read_text())
        objects = self._objects(program, folder)
        include = f"-I{program.header.parent.resolve()}"
        sources = ["main.c", "startup.c", *objects]
        _run(
            [_COMPILER, *program.flags, "-std=gnu11", "-O2", include, *_LINK, "-o", "firmware.elf", *sources, "-lm"],
            folder,
        )
        return folder / "firmware.elf"

    def _objects(self, program: Program, folder: Path) -> list[str]:
        """Compiles a program's own sources in a folder; those that another program had, too, are not compiled again."""
        made = [f"model_{number}.o" for number in range(len(program.sources))]
        for name, source in zip(made, program.sources, strict=True):
            known = (program.flags, source.resolve(), source.stat().st_mtime_ns)
            if known not in self._compiled:
                _run([_COMPILER, *program.flags, *self._flags, "-c", str(source.resolve()), "-o", name], folder)
                self._compiled[known] = (folder / name).read_bytes()
            (folder / name).write_bytes(self._compiled[known])
        return made

    def _sizes(self, program: Program, folder: Path) -> tuple[int, int]:
        """Bytes of flash and of RAM that a program's objects in a folder take, of what its function needs of them."""
        needed = ["-r", "-nostdlib", "-Wl,--gc-sections", f"-Wl,--entry={program.function}"]
        objects = sorted(path.name for path in folder.glob("model_*.o"))
        _run([_COMPILER, *program.flags, *needed, "-o", "needed.o", *objects], folder)
        line = _run([_SIZE, "needed.o"], folder).splitlines()[1]
        text, data, bss = (int(number) for number in line.split()[:3])
        return text + data, data + bss


def _emulation(board: Board) -> list[str]:
    quiet = ["-nographic", "-monitor", "none", "-serial", "none"]
    return [
        _EMULATOR,
        "-machine",
        board.machine,
        *quiet,
        "-icount",
        "shift=0",
        "-semihosting-config",
        "enable=on,target=native",
    ]


def _bytes_of(spec: TensorSpec, array: Any) -> bytes:
    array = np.asarray(array)
    if array.shape != spec.shape or array.dtype != numpy_dtype(spec.dtype):
        raise TensorError(
            f"it has shape {array.shape} and dtype {array.dtype}",
            where=f"input {spec.name!r}",
            hint=f"needed is {spec}",
        )
    data: bytes = array.tobytes()
    return data


def _results(program: Program, data: bytes) -> tuple[int, int, tuple[Array, ...], dict[str, Array]]:
    """Ticks of the clock, bytes of stack, the outputs, and states by name, as the board wrote them."""
    ticks, stack = (int(number) for number in np.frombuffer(data, "<u4", _COUNTS))
    arrays, offset = [], 4 * _COUNTS
    states = [spec for spec in program.inputs if spec.name in program.states]
    for spec in (*program.outputs, *states):
        kind = numpy_dtype(spec.dtype)
        arrays.append(np.frombuffer(data, kind, spec.elements, offset).reshape(spec.shape))
        offset += spec.nbytes
    outputs = tuple(arrays[: len(program.outputs)])
    changed = dict(zip((spec.name for spec in states), arrays[len(outputs) :], strict=True))
    return ticks, stack, outputs, changed


def _run(command: Sequence[str], folder: Path) -> str:
    """What a command prints, which has to succeed."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} did not end in {_SECONDS} seconds", where=str(folder)) from error
    if done.returncode:
        raise ToolError(
            f"{command[0]} failed with exit code {done.returncode}",
            where=" ".join(command[:4]),
            details=(done.stderr + done.stdout).strip().splitlines()[-12:],
        )
    return done.stdout
