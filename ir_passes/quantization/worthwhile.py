"""Which layers become integers so that cycles are saved: each with the tensors that it reads, which others may read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..core.graph import Var


@dataclass(frozen=True)
class Candidate:
    """A layer that could be one of integers: its names, the tensors quantized for it, and the cycles it then saves."""

    names: tuple[str, ...]
    sources: tuple[Var, ...]
    saved: float


# What quantizing a tensor costs, given the layers of integers: who else reads it needs its floats.
Price = Callable[[Var, Collection[Var]], float]


def worthwhile(candidates: Mapping[Var, Candidate], price: Price) -> tuple[set[Var], dict[Var, float]]:
    """The candidates that save more than their tensors cost, and what each tensor costs if all of them are chosen.

    Products of two tensors tie these together: of tensors that are tied, those go whose going saves the most, one after
    the other, until nothing more is saved.
    """
    prices = {source: price(source, candidates) for each in candidates.values() for source in each.sources}
    chosen: set[Var] = set()
    for group in _tied(candidates):
        chosen |= _best_of({var: candidates[var] for var in group}, price)
    return chosen, prices


def _best_of(candidates: Mapping[Var, Candidate], price: Price) -> set[Var]:
    left = dict(candidates)
    gain = _gain(left, price)
    while left:
        tensors = list(dict.fromkeys(source for each in left.values() for source in each.sources))
        tries = [{var: each for var, each in left.items() if tensor not in each.sources} for tensor in tensors]
        gains = [_gain(each, price) for each in tries]
        best = max(range(len(tries)), key=gains.__getitem__)
        if gains[best] < gain or (gains[best] == gain and gain > 0):
            break
        left, gain = tries[best], gains[best]
    return set(left) if gain > 0 else set()


def _gain(candidates: Mapping[Var, Candidate], price: Price) -> float:
    """The cycles that these save together."""
    tensors = dict.fromkeys(source for each in candidates.values() for source in each.sources)
    return sum(each.saved for each in candidates.values()) - sum(price(each, candidates) for each in tensors)


def _tied(candidates: Mapping[Var, Candidate]) -> list[list[Var]]:
    """The candidates in groups that have no tensor in common."""
    groups: list[tuple[set[Var], list[Var]]] = []
    for var, candidate in candidates.items():
        tensors, members = set(candidate.sources), [var]
        apart = []
        for group in groups:
            if group[0] & tensors:
                tensors, members = tensors | group[0], [*group[1], *members]
            else:
                apart.append(group)
        groups = [*apart, (tensors, members)]
    return [members for _, members in groups]
