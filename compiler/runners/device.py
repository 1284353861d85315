"""The runner of places without Python: a small program in C is started there, with the library and files of tensors.

The program (`emission/runtime/device.c`) is built for the library's target when it is first needed; what `--emit bench`
makes is such a program itself. A `Place` says how a command is executed there.
"""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import TilewrightError, ToolError
from ...targets.systems import ELF
from ...targets.toolchain import find_toolchain
from ..library.arrays import checked, results_of, states_after
from ..library.dimensions import Values, at, sizes_of_call
from ..library.elf import Elf
from ..library.library_file import LibraryFile
from ..library.signature import Signature
from ..process.temporary import TemporaryFolder, temporary_folder
from .runner import Array, Inputs, Library

PROGRAM, LIBRARY, INPUTS, OUTPUTS, TIMES = "program", "library", "inputs.bin", "outputs.bin", "times.bin"
HEADER = 2  # words before the times of steps: whether kernels run, and how many rounds are done
_EXIT_MODEL, _MODEL_SAID = 2, "the model returned"
_NOT_STARTED = (126, 127)  # codes that a shell ends with where a program is none, or its loader is missing
_RUN_IT = (
    "`tilewright inspect` says what machine a library is for; exec:COMMAND has to start the program whose words follow "
    "it, with the files beside it, and to bring .bin files back"
)
_SECONDS = 3600.0  # that a program may take
STILL_SECONDS = 60  # standing still for so long is a hang; devices are slower than this machine


Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code, 128 and the signal that it died of; None: it was killed as it took too long.
        printed, errors: what it wrote to stdout and stderr.
    """

    code: int | None
    printed: str
    errors: str


@dataclass(frozen=True)
class Profiled:
    """What came of rounds of a library of which each step was timed.

    Attributes:
        ended: how the program did.
        words: `HEADER`, and for each round the nanoseconds of its steps, as far as they came.
        outputs: what it wrote of results.
    """

    ended: Ended
    words: Words
    outputs: bytes

    def rounds(self, steps: int) -> Words:
        """The times of the rounds that are done, but for the first, which finds cold caches: [rounds, steps]."""
        return self.words[HEADER:].reshape(-1, steps)[1 : int(self.words[1])]


class Place(Protocol):
    """Where programs for a target can be executed; its text is what `--device` calls it."""

    def execute(self, signature: Signature, folder: Path, command: list[str], seconds: float = _SECONDS) -> Ended:
        """Executes a command of a folder, whose words are relative to it, and brings the .bin files there back.

        Args:
            signature: of the library: what the place must have.
            folder: with all files that the command needs.
            command: the first word is the program.
            seconds: after which it is killed.

        Raises:
            ToolError: something that the place needs is missing.
            DeviceLostError: the place does not answer.
        """
        ...


class DeviceRunner:
    """Runs libraries in a place.

    Args:
        place: where.
        threads: that parallel loops use; 0: the library's default there.
    """

    def __init__(self, place: Place, threads: int = 0) -> None:
        self._place = place
        self._threads = threads
        self._programs = TemporaryFolder()
        self._building = threading.Lock()
        weakref.finalize(self, self._programs.remove)

    def run(self, library: Library, inputs: Inputs) -> dict[str, Array]:
        """Runs once.

        Raises:
            TensorError: an input is missing, unknown, or has another shape or dtype.
            ToolError: something that is needed to run there is missing, or it failed.
        """
        return self._executed(library, inputs, 1, 0)[0]

    def time(self, library: Library, inputs: Inputs, *, runs: int = 1, seconds: float = 0) -> list[float]:
        """The seconds of each of at least so many runs, in at least so many seconds, as the machine there counts them.

        Raises:
            TensorError, ToolError: as `run`.
        """
        return self._executed(library, inputs, runs, seconds)[1]

    def _executed(
        self, library: Library, inputs: Inputs, runs: int, seconds: float
    ) -> tuple[dict[str, Array], list[float]]:
        signature = library.signature
        with self.folder(library, inputs) as (folder, command):
            words = [*command, INPUTS, OUTPUTS, str(runs), str(seconds), str(self._threads)]
            text = printed_by(self._place.execute(signature, folder, words), str(self._place))
            try:
                data = (folder / OUTPUTS).read_bytes()
                nanoseconds = [int(line) for line in text.split()]
            except (OSError, ValueError):
                nanoseconds = []
        if not nanoseconds:
            raise ToolError(
                "the program there wrote no results", where=f"--device {self._place}, {library.path}", hint=_RUN_IT
            )
        return outputs_of(library, data, sizes_of_call(signature, inputs)), [each / 1e9 for each in nanoseconds]

    def profile(
        self,
        library: LibraryFile,
        inputs: Inputs,
        *,
        runs: int,
        seconds: float = 0,
        still_seconds: int = STILL_SECONDS,
        most_seconds: float = _SECONDS,
    ) -> Profiled:
        """Runs at least so many rounds, in at least so many seconds, and times each step of the library.

        Args:
            still_seconds: how long a step may take before it counts as hung, and the program ends.

        Raises:
            ToolError: the library was stripped.
            TensorError: as `run`.
        """
        if "profile" not in library.hidden_entries:
            raise ToolError("the library has no entry for measurements", where=str(library.path))
        signature = library.signature
        with self.folder(library, inputs) as (folder, command):
            words = [*command, INPUTS, OUTPUTS, str(runs), str(seconds), str(self._threads), TIMES]
            words += [str(library.hidden_entries["profile"]), str(len(signature.steps)), str(still_seconds)]
            ended = self._place.execute(signature, folder, words, most_seconds)
            times, outputs = folder / TIMES, folder / OUTPUTS
            found = np.fromfile(times, np.uint64) if times.exists() else np.zeros(0, np.uint64)
            return Profiled(ended, found, outputs.read_bytes() if outputs.exists() else b"")

    @contextmanager
    def folder(self, library: Library, inputs: Inputs) -> Iterator[tuple[Path, list[str]]]:
        """A folder with all that the place needs, and the words of the command before those of all commands."""
        signature = library.signature
        with temporary_folder() as folder:
            (folder / INPUTS).write_bytes(b"".join(_contents(signature, inputs, str(library.path))))
            if Elf(library.path.read_bytes(), str(library.path)).is_program:
                shutil.copy(library.path, folder / PROGRAM)
                yield folder, [PROGRAM]
            else:
                shutil.copy(library.path, folder / LIBRARY)
                with self._building:
                    shutil.copy(self._program(signature.triple), folder / PROGRAM)
                yield folder, [PROGRAM, f"./{LIBRARY}", signature.name]

    def _program(self, triple: str) -> Path:
        """The program that loads a library, for a target."""
        folder = self._programs.path / triple
        program = folder / PROGRAM
        if not program.exists():
            from ..emission.glue import write_program

            folder.mkdir(exist_ok=True)
            write_program("device.c", folder)
            toolchain = find_toolchain(triple)
            if toolchain.object_format != ELF:
                raise ToolError(
                    f"shared libraries for {triple} are loaded by programs of your own there",
                    where="--device",
                    hint="compile with --emit bench: it makes a program",
                )
            toolchain.run([*toolchain.cc, "-O2", "device.c", "-o", PROGRAM, "-ldl", "-lpthread"], folder)
        return program


def _contents(signature: Signature, inputs: Inputs, where: str) -> Iterator[bytes]:
    """What the program reads: dimensions, sizes in bytes, which inputs come back, and the inputs."""
    arrays, values = checked(signature, inputs, where)
    dimensions = [values[dimension.name] for dimension in signature.dimensions]
    outputs = [at(spec, signature.dimensions, values) for spec in signature.outputs]
    states = {state.before.name for state in signature.states}
    sizes = [*(array.nbytes for array in arrays), *(spec.nbytes for spec in outputs)]
    numbers = [len(dimensions), *dimensions, *sizes, *(spec.name in states for spec in signature.inputs)]
    yield np.array(numbers, "<i8").tobytes()
    for array in arrays:
        yield array.tobytes()


def outputs_of(library: Library, data: bytes, values: Values) -> dict[str, Array]:
    """What a program wrote one after another, for some values of the dimensions: outputs, and states as they are then.

    Raises:
        ToolError: they are of another size.
    """
    signature = library.signature
    states = {state.before.name for state in signature.states}
    outputs = [at(spec, signature.dimensions, values) for spec in signature.outputs]
    memory = [spec for spec in signature.inputs if spec.name in states]
    if len(data) != sum(spec.nbytes for spec in (*outputs, *memory)):
        raise ToolError("the program there wrote results of another size", where=str(library.path))
    arrays: dict[str, Array] = {}
    begin = 0
    for spec in (*outputs, *memory):
        flat = np.frombuffer(data, numpy_dtype(spec.dtype), int(np.prod(spec.shape)), begin)
        arrays[spec.name], begin = flat.reshape(spec.shape).copy(), begin + spec.nbytes
    results = results_of(signature, [arrays[spec.name] for spec in outputs])
    return {**results, **states_after(signature, arrays, values)}


def printed_by(ended: Ended, where: str) -> str:
    """What a program printed.

    Raises:
        ToolError: it failed.
        TilewrightError: the model in it did.
    """
    if ended.code == 0:
        return ended.printed
    if ended.code is None:
        raise ToolError(
            "the program there did not end", where=where, hint="try a smaller model, or fewer runs: --repeat, --runs"
        )
    lines = ended.errors.strip().splitlines()[-6:]
    said = [line for line in lines if line.startswith(_MODEL_SAID)] if ended.code == _EXIT_MODEL else []
    if f"{_MODEL_SAID} 1" in said:
        raise ToolError(
            "the processor there lacks instructions that the library uses",
            where=where,
            hint="compile it for that processor: --mcpu, --features",
        )
    if said:
        raise TilewrightError("the model failed there", where=where, details=lines)
    if ended.code in _NOT_STARTED:
        raise ToolError(
            f"the program does not start there: code {ended.code}",
            where=where,
            details=lines,
            hint="`tilewright inspect` says what a library is for; a program of --emit bench needs no C library there",
        )
    raise ToolError(f"the program there ended with code {ended.code}", where=where, details=lines, hint=_RUN_IT)
