"""Operating systems that libraries are made for: to add one, add its row here."""

from __future__ import annotations

from dataclasses import dataclass

ELF, COFF, MACHO = "elf", "coff", "macho"


@dataclass(frozen=True)
class System:
    """An operating system: a row of `SYSTEMS`.

    Attributes:
        name: LLVM's, the third part of a full triple, a version included where LLVM wants one.
        spellings: what users write for it.
        python: what `platform.system()` calls it, in lower case.
        vendor: the second part of a full triple.
        environments: C libraries, the usual one first; none where the system has one alone.
        object_format: of object files and libraries.
        zig: zig's name, as its triples have it.
    """

    name: str
    spellings: tuple[str, ...]
    python: str
    vendor: str
    environments: tuple[str, ...]
    object_format: str
    zig: str


LINUX = System("linux", ("linux",), "linux", "unknown", ("gnu", "musl"), ELF, "linux")
WINDOWS = System("windows", ("windows", "win32", "mingw32"), "windows", "pc", ("gnu",), COFF, "windows")
# The first version that runs on Apple's own processors.
MACOS = System("macosx11.0.0", ("macos", "macosx", "darwin"), "darwin", "apple", (), MACHO, "macos.11.0")

SYSTEMS: tuple[System, ...] = (LINUX, WINDOWS, MACOS)


@dataclass(frozen=True)
class Triple:
    """A full triple in its parts; `environment` is empty where the system has no more than one."""

    architecture: str
    system: System
    environment: str

    def __str__(self) -> str:
        return "-".join(filter(None, (self.architecture, self.system.vendor, self.system.name, self.environment)))


def system_of(part: str) -> System | None:
    """The system that a part of a triple names, a version behind the name left out."""
    name = part.rstrip("0123456789.") or part
    return next((row for row in SYSTEMS if part in row.spellings or name in row.spellings), None)


def split(triple: str) -> Triple:
    """The parts of a full triple, as `Target.triple` has it."""
    architecture, _, name, *rest = triple.split("-")
    system = system_of(name)
    assert system is not None, triple
    return Triple(architecture, system, "-".join(rest))
