"""Passes by name: each is found under the name of its file, and what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import tilewright
from tilewright import targets
from tilewright.compiler import pipeline
from tilewright.errors import UsageError
from tilewright.ir_passes import Canonicalize, FuseEpilogues
from tilewright.ir_passes.registry import PASSES, edited, parse, spelled

FOLDER = Path(tilewright.__file__).parent / "ir_passes"


def test_every_pass_is_known_by_the_name_of_its_file() -> None:
    defined = {
        path.stem for path in FOLDER.rglob("*.py") if "(GraphPass):" in path.read_text() and path.parent != FOLDER
    }

    assert set(PASSES) == defined
    assert all(parse(name).name == name for name in PASSES if name != "narrow_storage")


def test_what_is_written_is_read_again() -> None:
    written = spelled(FuseEpilogues(max_calls=4, prologue_templates=("rows", "window")))

    assert written == "fuse_epilogues{max_calls=4, prologue_templates=('rows', 'window')}"
    assert parse(written) == FuseEpilogues(max_calls=4, prologue_templates=("rows", "window"))
    assert spelled(Canonicalize()) == "canonicalize" and parse("canonicalize") == Canonicalize()


def test_a_compile_is_made_of_known_passes() -> None:
    order = pipeline.passes(targets.parse("x86_64-linux-gnu"), precision="bf16")

    written = [spelled(each) for each in order if each.name in PASSES]
    assert "fuse_epilogues{transposed_results=True}" in written
    assert [spelled(parse(each)) for each in written] == written
    assert {each.name for each in order} - set(PASSES) == {"legalize", "schedule"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fuse_everything", "no pass 'fuse_everything'"),
        ("cse{max_calls=4}", "no such options"),
        ("fuse_epilogues{4}", "no such options"),
        ("fuse_epilogues{max_calls=4", "no such options"),
        ("fuse_epilogues{max_calls=open('x')}", "no such options"),
    ],
)
def test_what_is_no_pass_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(text)


def test_a_compile_without_a_pass_and_with_options_of_another() -> None:
    order = pipeline.passes(targets.parse("x86_64-linux-gnu"))

    found = edited(order, ["-canonicalize", "fuse_epilogues{max_calls=1}"])

    assert [each.name for each in found] == [each.name for each in order if each.name != "canonicalize"]
    (fusion,) = (each for each in found if each.name == "fuse_epilogues")
    assert fusion == FuseEpilogues(max_calls=1, transposed_results=True)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ("-fuse_everything", "no pass 'fuse_everything'"),
        ("-schedule", "no pass 'schedule' that one could change"),
        ("cse", "changes nothing"),
        ("-fuse_epilogues{max_calls=2}", "changes nothing"),
        ("fuse_epilogues{max_call=2}", "no such options"),
        ("fuse_epilogues{max_calls='two'}", "no such options"),
        ("fuse_epilogues{max_calls=", "no such options"),
    ],
)
def test_changes_that_cannot_be_made_are_refused(edit: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        edited(pipeline.passes(targets.parse("x86_64-linux-gnu")), [edit])
