"""Failures that nothing foresaw, in one form: what was at work when it happened, what it worked on, what to report.

Whatever runs code that may fail in ways nobody lists (a pass, a schedule, lowering, a code generator, a parser) runs it
inside `failing_in`. Blocks stand inside of blocks, and each adds its place: the pass or stage, the kernel, the nodes of
the model. What TVM calls back is `remembered`: TVM makes an exception of its own of what it raises.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from .errors import CompilerError, OutOfMemoryError, TilewrightError

P = ParamSpec("P")
R = TypeVar("R")

_MOST_CHARACTERS = 300  # of the reason
_LESS_MEMORY = "compile with --jobs 1, or on a machine with more memory"
_MADE_BY_TVM = "__tvm_ffi_error__"  # the attribute of exceptions that came out of TVM

# What functions that are `remembered` raised inside the innermost block.
_raised: ContextVar[list[BaseException] | None] = ContextVar("raised", default=None)


@contextmanager
def failing_in(
    place: str,
    what: str,
    *,
    inside: Callable[[BaseException], str | None] = lambda error: None,
    nodes: Callable[[], Sequence[str]] = tuple,
    writes_files: bool = False,
) -> Iterator[None]:
    """Names `place` in whatever fails inside the block.

    Args:
        place: what is at work: ``pass 'cse'``, ``kernel 'matmul'``, a file.
        what: the sentence for a failure that nothing foresaw: ``a pass failed``.
        inside: finds out a narrower place, the node or the stage; asked only for what names no place itself.
        nodes: the nodes of the model that the place works on; asked only when it fails.
        writes_files: OSError passes as it is, for those around the block who know which file it is about.

    Raises:
        CompilerError: for every exception but those below, TVM's own classes and RecursionError among them.
        OutOfMemoryError: memory ran out.
        TilewrightError: others keep what they say, which is what a user can do about them, and where, if they say that.
    """
    try:
        with _as_raised():
            yield
    except TilewrightError as error:
        if not _takes_places(error):
            raise
        where = place if error.where else _narrowed(place, inside(error))
        raise error.at(where, *_computes(nodes())) from error
    except MemoryError as error:
        where = _narrowed(place, inside(error))
        raise OutOfMemoryError("memory ran out", where=where, details=_computes(nodes()), hint=_LESS_MEMORY) from error
    except Exception as error:  # TVM raises several classes without a common base, and so do mistakes of ours
        if writes_files and isinstance(error, OSError):
            raise
        where = _narrowed(place, inside(error))
        raise CompilerError(what, where=where, details=[*_computes(nodes()), reason_of(error)]) from error


@contextmanager
def nodes_named(nodes_of: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Adds the nodes of the model to errors about one of many places, whose blocks do not know them.

    Args:
        nodes_of: for each place, as `failing_in` was told it, the nodes that it works on.
    """
    try:
        yield
    except TilewrightError as error:
        places = [place for place in nodes_of if place in (error.where or "")]
        if not places or not _takes_places(error):
            raise
        raise error.at(places[0], *_computes([node for place in places for node in nodes_of[place]])) from error


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """A function for TVM to call: what it raises comes out of the block around as itself, be it an interrupt."""

    @functools.wraps(function)
    def remembering(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            raised = _raised.get()
            if raised is not None and not hasattr(error, _MADE_BY_TVM):
                raised.append(error)
            raise

    return remembering


@contextmanager
def _as_raised() -> Iterator[None]:
    """Raises again what a remembered function raised, where TVM made another exception of it."""
    raised: list[BaseException] = []
    outside = _raised.set(raised)
    try:
        yield
    except Exception as error:
        made = hasattr(error, _MADE_BY_TVM)
        original = next((each for each in reversed(raised) if made and str(each) in str(error)), error)
        if original is error:
            raise
        raise original from error
    finally:
        _raised.reset(outside)


def _takes_places(error: TilewrightError) -> bool:
    return isinstance(error, CompilerError | OutOfMemoryError) or error.is_placed or not error.where


def reason_of(error: BaseException) -> str:
    """What an exception of any class says, in one line; of TVM's, which hold whole traces, the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:_MOST_CHARACTERS]}" if lines else type(error).__name__


def _narrowed(place: str, inside: str | None) -> str:
    return f"{place}: {inside}" if inside else place


def _computes(nodes: Sequence[str]) -> list[str]:
    return [f"it computes the nodes: {', '.join(nodes)}"] if nodes else []
