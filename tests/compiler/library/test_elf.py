"""The ELF reader: finds symbols, changes only what it should, and meets damage with an error in words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tilewright.compiler.library.elf import Elf, hide_symbols, rename_symbol
from tilewright.errors import LibraryError

SOURCE = """
extern int elsewhere(void);
int (*hook_of_some_name)(void) __attribute__((weak));
static int inside(void) { return 3; }
int outside(void) { return inside() + elsewhere() + hook_of_some_name(); }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder: Path = tmp_path_factory.mktemp("elf")
    (folder / "a.c").write_text(SOURCE)
    subprocess.run(["cc", "-c", "-fPIC", "-O0", "a.c", "-o", "a.o"], cwd=folder, check=True)
    return (folder / "a.o").read_bytes()


def test_symbols(compiled: bytes) -> None:
    elf = Elf(compiled)
    symbols = {symbol.name: symbol for symbol in elf.symbols()}

    assert symbols["outside"].is_global and symbols["outside"].is_defined and not symbols["outside"].is_hidden
    assert not symbols["elsewhere"].is_defined
    assert not symbols["inside"].is_global
    assert symbols["hook_of_some_name"].is_weak
    assert elf.machine == "x86_64" and elf.section(".nothing") is None


def test_hiding_leaves_the_undefined_alone(compiled: bytes) -> None:
    symbols = {symbol.name: symbol for symbol in Elf(hide_symbols(compiled)).symbols()}

    assert symbols["outside"].is_hidden and symbols["hook_of_some_name"].is_hidden
    assert not symbols["elsewhere"].is_hidden


def test_renaming(compiled: bytes) -> None:
    renamed = rename_symbol(compiled, "hook_of_some_name", "hook_of_next_name")

    assert {symbol.name for symbol in Elf(renamed).symbols()} >= {"hook_of_next_name", "outside", "elsewhere"}
    with pytest.raises(ValueError, match="length"):
        rename_symbol(compiled, "outside", "in")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_damage_is_an_error_in_words(compiled: bytes, data: st.DataObject) -> None:
    damaged = bytearray(compiled[: data.draw(st.integers(0, len(compiled)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            # The header and the tables at the end are where the offsets are.
            position = data.draw(st.integers(0, min(63, len(damaged) - 1)) | st.integers(0, len(damaged) - 1))
            damaged[position] = data.draw(st.integers(0, 255))
    try:
        elf = Elf(bytes(damaged))
        list(elf.symbols())
        elf.section(".text")
    except LibraryError:
        pass
