"""Whether what goes first leaves anything for what follows, told before any sample is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import CutError
from .prune_channels import PruneChannels
from .prune_layers import PruneLayers
from .pruning import BRANCHES, NO_CHANGE, STRUCTURED, Change, Subject

if TYPE_CHECKING:
    from .prune_branches import PruneBranches


def check_together(subject: Subject, branches: PruneBranches | None) -> None:
    """Goes through the ways that are asked for, as far as they are known without samples.

    How many channels of each group go is known where a rate says it, and which branches go where all do. Shares of the
    work are known once samples have said which channels are missed least: what they leave is told then.

    Args:
        branches: the way that drops them, if any go.

    Raises:
        CutError: there is nothing that one of them could take.
        UsageError: there is no layer of a name that is asked for.
    """
    asked, change = subject.asked, NO_CHANGE
    if branches is not None and branches.all_go:
        subject = branches.without_all()
    if asked.is_structured:
        way = channels_after(subject, change)
        if asked.is_within_layers and asked.work is None:
            change = way(None)
    if asked.is_within_layers:
        layers_after(subject, change)


def channels_after(subject: Subject, change: Change) -> PruneChannels:
    """The way that cuts channels of what a change leaves.

    Raises:
        CutError: there are none.
    """
    with _after(subject.asked.options(BRANCHES)):
        return PruneChannels(subject, change)


def layers_after(subject: Subject, change: Change) -> PruneLayers:
    """The way that changes layers of what a change leaves.

    Raises:
        CutError: there are none that could be changed.
    """
    with _after(subject.asked.options({**BRANCHES, **STRUCTURED})):
        return PruneLayers(subject, change)


@contextmanager
def _after(first: Sequence[str]) -> Iterator[None]:
    """Says in an error what others took before."""
    try:
        yield
    except CutError as error:
        if not first:
            raise
        taken = " and ".join(first)
        raise CutError(
            f"{error.what} once {taken} took its part",
            where=error.where,
            hint=f"ask for less of {taken}, or for nothing behind it",
        ) from None
