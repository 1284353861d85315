"""C identifiers: for the library's prefix, for kernels, for inputs and outputs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from ...errors import UsageError

# The variable through which the code that TVM generates reaches a thread pool.
TVM_LAUNCH = "__TVMBackendParallelLaunch"
# What the object of the threads (emission/runtime/threads.c) shares with the code of a library.
THREAD_FUNCTIONS, THREAD_LIMITS = "tilewright_thread_functions", "tilewright_thread_limits"
# In a library they are renamed after it, so that two static ones in one program keep their own pools.
COMMON_SYMBOLS = (TVM_LAUNCH, THREAD_FUNCTIONS, THREAD_LIMITS)

_MAX_READABLE = 48
# Of C and C++, since programs in either include the header; and `main`.
_KEYWORD_LIST = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const constexpr
    const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern false float
    for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast
    struct switch template this thread_local throw true try typedef typeid typename typeof union unsigned using
    virtual void volatile wchar_t while xor xor_eq main
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())
# What cannot name a parameter: macros of C's headers, of GNU C and of Arduino; types; what the sources use by that name
# themselves: memcpy and its relatives; and, where steps are written, variables of loops and memories.
_MACROS = """
    NULL NAN INFINITY HUGE_VAL EOF I PI F B0 B1 INPUT OUTPUT HIGH LOW DEFAULT EXTERNAL SERIAL DISPLAY errno linux unix
    i386 stdin stdout stderr memcpy memmove memset
"""
_OF_HEADERS = re.compile(rf"\w+_(t|MAX|MIN|C)|M_\w+|{'|'.join(_MACROS.split())}")
_OF_STEPS = re.compile(r"[in]\d+|\w+_memory")


def check_name(name: str) -> str:
    """Returns `name` when it can prefix the symbols of a library.

    Raises:
        UsageError: it is no C identifier.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _KEYWORDS or len(name) > 200:
        raise UsageError(
            f"{name!r} cannot prefix C symbols",
            where="--name",
            hint=f"use letters, digits and underscores, a letter first, no keyword: --name {identifier(name)}",
        )
    return name


def identifier(text: str) -> str:
    """A C identifier near to `text`: other characters become underscores."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "model"
    name = name[:_MAX_READABLE].rstrip("_")
    if name[0].isdigit():
        name = f"n{name}"
    return f"{name}_model" if name in _KEYWORDS else name


def unique_identifiers(texts: Iterable[str]) -> tuple[str, ...]:
    """One C identifier for each text, all different."""
    names: list[str] = []
    for text in texts:
        base = name = identifier(text)
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return tuple(names)


def parameter_names(texts: Iterable[str], prefix: str) -> tuple[str, ...]:
    """One C identifier for each tensor that the C function of a model is given; `prefix` is the model's."""
    own = re.compile(rf"{prefix}_\w+|{prefix}")
    names = map(identifier, texts)
    return unique_identifiers(
        renamed(each) if own.fullmatch(each) or is_of_headers(each) or _OF_STEPS.fullmatch(each) else each
        for each in names
    )


def is_of_headers(name: str) -> bool:
    """Whether an identifier may be a macro, a type or a function of C's headers."""
    return _OF_HEADERS.fullmatch(name) is not None


def renamed(name: str) -> str:
    """What something is called instead of an identifier that means something else."""
    return f"tensor_{name}"


def own_symbol(common: str, name: str) -> str:
    """What a symbol that the code of all libraries has is called in the one with this prefix; of the same length."""
    digest = hashlib.sha256(f"{common} {name}".encode()).hexdigest()
    return f"tw_{digest}"[: len(common)]
