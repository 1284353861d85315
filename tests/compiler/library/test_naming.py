"""C identifiers from any text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.compiler.library.naming import check_name, identifier, parameter_names, unique_identifiers
from tilewright.errors import UsageError


@given(st.text(max_size=80))
def test_every_text_gives_a_name_that_is_allowed(text: str) -> None:
    assert check_name(identifier(text)) == identifier(text)


@given(st.lists(st.text(max_size=4)))
def test_names_are_unique(texts: list[str]) -> None:
    names = unique_identifiers(texts)

    assert len(set(names)) == len(texts)
    assert all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in names)


@pytest.mark.parametrize(
    "name", ["NULL", "errno", "INPUT", "uint8_t", "INT8_MAX", "memcpy", "i1", "arena_memory", "m_w0"]
)
def test_a_parameter_hides_nothing_and_is_no_macro(name: str) -> None:
    assert parameter_names(["x", name, "x"], "m") == ("x", f"tensor_{name}", "x_2")


@pytest.mark.parametrize("name", ["", "1net", "a-b", "int", "class", "_hidden", "naïve", "a b", "x" * 300])
def test_a_name_that_c_refuses_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot prefix C symbols"):
        check_name(name)
