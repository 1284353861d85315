"""What kernels in C use besides their own lines: helpers with their texts, and functions of libm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Language:
    """What kernels are written in.

    Attributes:
        name, asked: it, and where it is asked for: for messages.
        inline: how a helper begins.
        own: helpers that it has in other words than C.
    """

    name: str
    asked: str
    inline: str
    own: Mapping[str, str] = field(default_factory=dict)


C99 = Language("C sources", "--emit c", "static inline")


@dataclass
class Used:
    """What the kernels of a model call: helpers with their texts, and functions of libm."""

    language: Language = C99
    helpers: dict[str, str] = field(default_factory=dict)
    libm: set[str] = field(default_factory=set)

    def helper(self, name: str, text: str) -> str:
        """A helper's name, whose text will be there."""
        self.helpers[name] = text
        return name

    def add(self, other: Used) -> None:
        """Adds what other kernels call."""
        self.helpers.update(other.helpers)
        self.libm.update(other.libm)

    def function(self, name: str, text: str) -> str:
        """The name of a helper that is a function, whose text begins with the type of its result."""
        return self.helper(name, f"{self.language.inline} {self.language.own.get(name, text)}")


def helper_texts(used: Used) -> Iterable[str]:
    """The helpers' texts, in an order that depends on nothing but which there are."""
    return (used.helpers[name] for name in sorted(used.helpers))
