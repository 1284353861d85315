"""What a model calls its dimensions: words, and sums and products of words, as exporters write them.

`batch`, `past.len`, `past_sequence_length + sequence_length`, `2*s0`: a name that is not known by itself is what is
known of its words. And of a sum that is known, with one word that is not, that word is what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .sizes import Dimension, Size, quotient, size_of_names, words_of

_UNKNOWN = Dimension("unknown", 1)


def spelled(name: str) -> str:
    """A name without the spaces in it, which nobody minds."""
    return "".join(name.split())


def is_word(name: str) -> bool:
    """Whether a name is no sum or product of others."""
    return words_of(name) == [spelled(name)]


class DimensionNames:
    """Sizes by the names of a model's dimensions."""

    def __init__(self, known: Mapping[str, Size]) -> None:
        """Gets ready: what is known of names."""
        self._known = {spelled(name): size for name, size in known.items()}

    def learn(self, name: str, size: Size) -> None:
        """Another name, unless it is known."""
        self._known.setdefault(spelled(name), size)

    def solve(self) -> None:
        """Learns what is left of sums; of one that is found more may follow."""
        while any(self._solved(name, size) for name, size in list(self._known.items())):
            pass

    def size(self, name: str) -> Size | None:
        """The size that a model calls so; None where it is not known."""
        name = spelled(name)
        if name in self._known:
            return self._known[name]
        try:
            return size_of_names(name, self._known)
        except ValueError:
            return None

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The words, each once, that keep names from being known."""
        words = [word for name in names if self.size(name) is None for word in words_of(spelled(name), self._known)]
        return [word for word in dict.fromkeys(words) if word not in self._known]

    def _solved(self, name: str, size: Size) -> bool:
        words = self.unknown_of_sum(name)
        if len(words) != 1 or is_word(name):
            return False
        with_none, with_one = (self._with(name, words[0], value) for value in (0, 1))
        whole = self._with(name, words[0], _UNKNOWN.size)
        if not isinstance(with_none, int) or not isinstance(with_one, int):
            return False
        times = with_one - with_none
        rest = size + -with_none
        if times < 1 or whole != _UNKNOWN.size * times + with_none or quotient(rest, times) * times != rest:
            return False
        self._known[words[0]] = quotient(rest, times)
        return True

    def unknown_of_sum(self, name: str) -> list[str]:
        """The words of a name, known as a whole or not, that are not known."""
        known = {each: size for each, size in self._known.items() if each != spelled(name)}
        return [word for word in dict.fromkeys(words_of(spelled(name), known)) if word not in known]

    def _with(self, name: str, word: str, value: Size) -> Size | None:
        known = {each: size for each, size in self._known.items() if each != name}
        try:
            return size_of_names(name, {**known, word: value})
        except ValueError:
            return None
