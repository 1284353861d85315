"""Objects and sources -> a library or a program, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...targets.systems import COFF, ELF, MACHO
from ...targets.toolchain import Toolchain
from ..library.signature import MAX_THREADS

_COMPILE_FLAGS = ("-std=c11", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-g0", "-ffile-prefix-map=.=.")
_WHOLE_FLAGS = ("-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,noexecstack")
_STRIP = "-Wl,--strip-debug"
# Of shared libraries, by the format of object files; where there is a list of what they export, it is that file.
_SHARED_FLAGS = {
    ELF: (
        "-shared",
        "-fPIC",
        "-Wl,--no-undefined",
        "-Wl,--as-needed",
        *_WHOLE_FLAGS,
        "-Wl,-z,relro",
        "-Wl,-z,now",
        "-Wl,--version-script=exports.map",
    ),
    COFF: ("-shared", "-s", "exports.def"),
    MACHO: ("-shared", "-Wl,-dead_strip"),
}
_PROGRAM_FLAGS = {ELF: ("-static", *_WHOLE_FLAGS, _STRIP), COFF: ("-static", "-s"), MACHO: ("-Wl,-dead_strip",)}

_FUNCTIONS = ("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes")
_OF_THREADS, _OF_DEVICES = ("set_num_threads",), ("run_async", "error")


def api_symbols(name: str, *, threaded: bool, device: bool = False) -> tuple[str, ...]:
    """The symbols that a library exports, and no other; those for a `device` have some more."""
    more = (*(_OF_THREADS if threaded else ()), *(_OF_DEVICES if device else ()))
    return tuple(f"{name}_{function}" for function in (*_FUNCTIONS, *more))


def exports_map(exports: Sequence[str]) -> str:
    """What tells a linker to export these and no other."""
    return "{ global: " + " ".join(f"{symbol};" for symbol in exports) + " local: *; };\n"


def compile_glue(toolchain: Toolchain, folder: Path) -> list[Path]:
    """Compiles what `glue.write_sources` wrote.

    Raises:
        ToolError: the compiler failed.
    """
    toolchain.run([*toolchain.cc, *_COMPILE_FLAGS, "-c", "library.c", "-o", "library.o"], folder)
    toolchain.run([*toolchain.cc, "-c", "signature.s", "-o", "signature.o"], folder)
    return [folder / "library.o", folder / "signature.o"]


def compile_threads(toolchain: Toolchain, folder: Path, pause: str) -> Path:
    """Compiles what `glue.write_thread_sources` wrote.

    Args:
        pause: a statement of C for a loop that waits.

    Raises:
        ToolError: the compiler failed.
    """
    defined = (f"-DTILEWRIGHT_MAX_THREADS={MAX_THREADS}", f"-DTILEWRIGHT_PAUSE={pause}")
    toolchain.run([*toolchain.cc, *_COMPILE_FLAGS, *defined, "-c", "threads.c", "-o", "threads.o"], folder)
    return folder / "threads.o"


def assemble_weights(toolchain: Toolchain, folder: Path) -> Path:
    """Assembles what `glue.write_weights` wrote.

    Raises:
        ToolError: the assembler failed.
    """
    toolchain.run([*toolchain.cc, "-c", "weights.s", "-o", "weights.o"], folder)
    return folder / "weights.o"


def link_shared(
    toolchain: Toolchain,
    objects: Sequence[Path],
    exports: Sequence[str],
    output: Path,
    more: Sequence[str] = (),
    *,
    called: str = "",
) -> None:
    """Links a shared library that exports `exports` alone and needs libc, libm and the threads library at most.

    Args:
        more: libraries of the system that it needs besides, as the linker is told of them.
        called: the name of its file, where that is not `output`'s: a .dll and a .dylib have it inside, and programs
            that were linked with them look for it.

    Raises:
        ToolError: the linker failed: an undefined symbol, for example.
    """
    folder, name = output.parent, called or output.name
    (folder / "exports.map").write_text(exports_map(exports))
    (folder / "exports.def").write_text("\n".join(["EXPORTS", *exports, ""]))
    flags = _SHARED_FLAGS[toolchain.object_format]
    if toolchain.object_format == MACHO:
        flags = (*flags, f"-Wl,-install_name,@rpath/{name}")
    if toolchain.keeps_symbols:
        flags = (*flags, _STRIP)
    # The linker takes a .dll's name from that of the file that it writes.
    made = folder / "linked" / name if toolchain.object_format == COFF else output
    made.parent.mkdir(exist_ok=True)
    place = str(made.relative_to(folder))
    toolchain.run([*toolchain.cc, *flags, "-o", place, *_names(objects), "-lm", "-lpthread", *more], folder)
    made.replace(output)


def compile_device_program(toolchain: Toolchain, folder: Path) -> list[Path]:
    """Compiles what `glue.write_self_check` wrote.

    Raises:
        ToolError: the compiler failed.
    """
    toolchain.run([*toolchain.cc, *_COMPILE_FLAGS, "-DTILEWRIGHT_BENCH", "-c", "device.c", "-o", "device.o"], folder)
    toolchain.run([*toolchain.cc, "-c", "self_check.s", "-o", "self_check.o"], folder)
    return [folder / "device.o", folder / "self_check.o"]


def link_program(toolchain: Toolchain, objects: Sequence[Path], output: Path) -> None:
    """Links a program that needs nothing where it runs but the system.

    Raises:
        ToolError: the linker failed.
    """
    flags = _PROGRAM_FLAGS[toolchain.object_format]
    toolchain.run([*toolchain.cc, *flags, "-o", output.name, *_names(objects), "-lm", "-lpthread"], output.parent)


def link_static(toolchain: Toolchain, objects: Sequence[Path], output: Path) -> None:
    """Archives a static library, without dates or owners.

    Raises:
        ToolError: the archiver failed.
    """
    output.unlink(missing_ok=True)  # ar adds to an archive that exists
    toolchain.run([*toolchain.ar, "rcsD", output.name, *(path.name for path in objects)], output.parent)


def _names(objects: Sequence[Path]) -> list[str]:
    """Relative ones: no folder of this machine gets into the library."""
    return [path.name for path in objects]
