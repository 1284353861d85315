"""Objects and sources -> a shared or static library, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...targets.toolchain import Toolchain

_COMPILE_FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-ffile-prefix-map=.=.")
_LINK_FLAGS = (
    "-shared",
    "-fPIC",
    "-Wl,--no-undefined",
    "-Wl,--gc-sections",
    "-Wl,--as-needed",
    "-Wl,--build-id=none",
    "-Wl,--strip-debug",
    "-Wl,-z,noexecstack",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,--version-script=exports.map",
)

_FUNCTIONS = ("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes")


def api_symbols(name: str, *, threaded: bool) -> tuple[str, ...]:
    """The symbols that a library exports, and no other."""
    return tuple(f"{name}_{function}" for function in (*_FUNCTIONS, *(("set_num_threads",) if threaded else ())))


def compile_glue(toolchain: Toolchain, folder: Path) -> list[Path]:
    """Compiles what `glue.write_sources` wrote.

    Raises:
        ToolError: the compiler failed.
    """
    toolchain.run([*toolchain.cc, *_COMPILE_FLAGS, "-c", "library.c", "-o", "library.o"], folder)
    toolchain.run([*toolchain.cc, "-c", "signature.S", "-o", "signature.o"], folder)
    return [folder / "library.o", folder / "signature.o"]


def assemble_weights(toolchain: Toolchain, folder: Path) -> Path:
    """Assembles what `glue.write_weights` wrote.

    Raises:
        ToolError: the assembler failed.
    """
    toolchain.run([*toolchain.cc, "-c", "weights.S", "-o", "weights.o"], folder)
    return folder / "weights.o"


def link_shared(toolchain: Toolchain, objects: Sequence[Path], exports: Sequence[str], output: Path) -> None:
    """Links a shared library that exports `exports` alone and needs libc, libm and the threads library at most.

    Raises:
        ToolError: the linker failed: an undefined symbol, for example.
    """
    folder = output.parent
    (folder / "exports.map").write_text("{ global: " + " ".join(f"{s};" for s in exports) + " local: *; };\n")
    names = [path.name for path in objects]  # relative: no folder of this machine gets into the library
    toolchain.run([*toolchain.cc, *_LINK_FLAGS, "-o", output.name, *names, "-lm", "-lpthread"], folder)


def link_static(toolchain: Toolchain, objects: Sequence[Path], output: Path) -> None:
    """Archives a static library, without dates or owners.

    Raises:
        ToolError: the archiver failed.
    """
    output.unlink(missing_ok=True)  # ar adds to an archive that exists
    toolchain.run([*toolchain.ar, "rcsD", output.name, *(path.name for path in objects)], output.parent)
