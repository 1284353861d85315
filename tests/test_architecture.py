"""The tree is the architecture: who may import whom, no circles, files one can read, packages that are installed."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import networkx as nx
import pytest
import tilewright

ROOT = Path(tilewright.__file__).parent
FOLDERS = ("compiler", "frontends", "ir_passes", "schedules", "targets")
MOST_LINES = 350

# Folder -> the folders that its modules may import, besides their own and the modules at the root.
MAY_IMPORT = {
    "compiler": {"frontends", "ir_passes", "schedules", "targets"},
    "frontends": {"ir_passes/core", "ir_passes/dialect"},
    "ir_passes": set(),
    "schedules": {"targets", "ir_passes/core", "ir_passes/dialect"},
    "targets": set(),
}
# Importing these never imports TVM: what runs a library, and what a command line needs before it compiles.
WITHOUT_TVM = "compiler/library"


# What names an instruction set, or the width of its vectors.
INSTRUCTION_SETS = re.compile(
    r"x86|avx|amx|vnni|\b512\b|__builtin_ia32|neon|\bsve\b|\brvv\b|aarch64|armv\d|riscv|nvptx|\bsm_\d|wgmma",
    re.IGNORECASE,
)
MAY_NAME_ONE = {
    "compiler/cli/command_compile.py": "an example in the help",
    "compiler/library/elf.py": "ELF's numbers of machines, with Linux's names",
}


def sources(folders: Sequence[str] = FOLDERS) -> dict[str, Path]:
    """Modules by name (`compiler/library/plan`), those at the root included; a package by the name of its folder."""
    paths = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__init__"): path for path in paths}


def imports(folders: Sequence[str] = FOLDERS) -> nx.DiGraph:
    """Which module imports which: all relative imports, those inside functions too."""
    modules = sources(folders)
    graph = nx.DiGraph()
    graph.add_nodes_from(modules)
    for name, path in modules.items():
        package = list(path.relative_to(ROOT).parts[:-1])
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                inner = "/".join([*base, alias.name])
                graph.add_edge(name, inner if inner in modules else "/".join(base))
    return graph


def runs() -> nx.DiGraph:
    """Which module makes Python run which, benchmarks too: what it imports, and the packages that this is in."""
    folders = (*FOLDERS, "benchmarks")
    graph = imports(folders)
    packages = {name for name, path in sources(folders).items() if path.name == "__init__.py"}
    for importer, imported in list(graph.edges):
        around = {str(folder) for folder in PurePosixPath(imported).parents} & packages
        graph.add_edges_from((importer, each) for each in around if not f"{importer}/".startswith(f"{each}/"))
    return graph


def room(module: str) -> str:
    """The folder that a module is in; a module on top of one of the five, or of the tree, is a room of its own."""
    return "/".join(module.split("/")[:2])


@pytest.mark.parametrize("name", ["module", "room"])
def test_nothing_imports_itself_by_a_detour(name: str) -> None:
    graph = runs()
    if name == "room":
        graph = nx.DiGraph((room(a), room(b)) for a, b in graph.edges if room(a) != room(b))

    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_dependencies_point_one_way() -> None:
    def allowed(importer: str, imported: str) -> bool:
        ours, theirs = importer.split("/")[0], imported.split("/")[0]
        if ours == theirs or theirs not in FOLDERS or ours not in FOLDERS:
            return ours not in FOLDERS or theirs in FOLDERS or "/" not in imported
        return theirs in MAY_IMPORT[ours] or room(imported) in MAY_IMPORT[ours]

    assert [edge for edge in imports().edges if not allowed(*edge)] == []


def test_a_library_is_run_without_the_compiler() -> None:
    graph = imports()
    reached = {other for module in sources() if room(module) == WITHOUT_TVM for other in nx.descendants(graph, module)}
    importing = {
        name
        for name in reached
        for node in ast.walk(ast.parse(sources()[name].read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0)
        for module in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if module.split(".")[0] in ("tvm", "tvm_ffi")
    }

    assert importing == set()


def test_instruction_sets_are_named_in_targets_alone() -> None:
    paths = [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    texts = {str(path.relative_to(ROOT)): path for path in paths if path.suffix in (".py", ".c", ".h", ".jinja")}
    naming = {
        name
        for name, path in texts.items()
        if not name.startswith("targets/") and INSTRUCTION_SETS.search(path.read_text())
    }

    assert naming == set(MAY_NAME_ONE)


def test_benchmarks_run_from_the_root() -> None:
    """`python -m benchmarks.NAME` has no package above `benchmarks`: there, `from ..compiler` is an error."""
    folder = ROOT / "benchmarks"
    beyond = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > len(path.relative_to(folder).parts)
    }

    assert beyond == set()


def test_files_can_be_read() -> None:
    folders = (*FOLDERS, "benchmarks", "examples", "tests")
    paths = [*ROOT.glob("*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    read = [path for path in paths if path.suffix in (".py", ".c", ".h", ".cu", ".jinja")]

    assert {".py", ".c", ".h", ".jinja"} <= {path.suffix for path in read}
    assert {str(path) for path in read if len(path.read_text().splitlines()) > MOST_LINES} == set()


def test_the_document_names_all_of_the_compiler() -> None:
    document = ROOT / "docs" / "architecture.md"
    if not document.exists():
        pytest.skip("installed without its sources")
    table = document.read_text().partition("    compiler/ ")[2].partition("\n\n")[0]
    parts = {path.stem for path in (ROOT / "compiler").iterdir() if path.is_dir() or path.suffix == ".py"}

    assert parts - set(re.findall(r"\w+", table)) <= {"__init__", "__pycache__"}


def test_every_package_is_installed() -> None:
    pyproject = ROOT / "pyproject.toml"
    if not pyproject.exists():
        pytest.skip("installed without its sources")
    listed = pyproject.read_text()
    packages = [
        "tilewright",
        *(f"tilewright.{name.replace('/', '.')}" for name, path in sources().items() if path.name == "__init__.py"),
    ]

    assert [package for package in packages if f'"{package}"' not in listed and package != "tilewright.__init__"] == []
