"""Every error a user can meet: what was wrong, where, and what to do about it.

Each class carries the exit code of the command line. The text of an error is meant for one screen:

    error: the model has 2 operators that Tilewright does not support
      where: resnet.onnx
      - node 'nms' (NonMaxSuppression)
      hint: cut the model before these nodes

Code raises the most specific class; only the command line turns an error into text and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

EXIT_OK = 0
EXIT_COMPARISON_FAILED = 1
EXIT_USAGE = 2
EXIT_UNSUPPORTED = 3
EXIT_BAD_INPUT = 4
EXIT_TOOL_FAILED = 5


class TilewrightError(Exception):
    """Base of all errors that are the user's to read.

    Args:
        what: one sentence, lower case, no full stop: what was wrong.
        where: the file, node or option it concerns.
        hint: what to do about it.
        details: further lines, for example one a node.

    Attributes:
        is_placed: whether `where` is what was at work, found out by `failures.failing_in`, and nothing that was said.
    """

    exit_code = EXIT_TOOL_FAILED
    is_placed = False

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.details = tuple(details)

    def at(self, place: str, *details: str) -> Self:
        """The same error with a wider place named before its own, unless it is already, and more details before its."""
        own = self.where or ""
        where = own if place in own else f"{place}: {own}" if own else place
        more = list(dict.fromkeys([*details, *self.details]))
        error = type(self)(self.what, where=where, hint=self.hint, details=more)
        error.is_placed = self.is_placed or not own
        return error

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        lines += [f"  - {detail}" for detail in self.details]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class TilewrightWarning(UserWarning):
    """Something that a user should know of, although the work goes on."""


class PrecisionWarning(TilewrightWarning):
    """The target cannot do what was asked for in fewer bits; the text says what is done instead."""


class TargetWarning(TilewrightWarning):
    """The target is one that nothing is known of; the text says what that means."""


class RecordsWarning(TilewrightWarning):
    """The tuner's records say nothing, or less than they seem to, for what is compiled."""


class RecipeWarning(TilewrightWarning):
    """A recipe may be for another model; the text says why."""


class ComparisonError(TilewrightError):
    """Two results that should agree do not."""

    exit_code = EXIT_COMPARISON_FAILED


class UsageError(TilewrightError):
    """An option, argument or call is wrong: the user can mend it without touching the model."""

    exit_code = EXIT_USAGE


class ShapeError(UsageError):
    """A dimension is unknown, or a shape given by the user does not fit the model."""


class RegionError(UsageError):
    """A model's tensors do not fit the memories that it was given."""


class ChoiceError(UsageError):
    """A choice of a schedule template, from records or a caller, that is not in the template's space."""


class CutError(UsageError):
    """Channels, branches or layers that a network cannot do without, or that do not go together as asked."""


class TensorError(UsageError):
    """A tensor handed to a compiled model has the wrong name, shape or dtype."""


class OutputError(UsageError):
    """The output cannot be written: the folder is missing, not writable or full."""


class UnsupportedError(TilewrightError):
    """The model or the target asks for something that Tilewright does not support."""

    exit_code = EXIT_UNSUPPORTED


class UnsupportedOperatorError(UnsupportedError):
    """Operators without a converter; `details` lists every one of them."""


class UnsupportedTargetError(UnsupportedError):
    """The triple, CPU or feature is unknown or has no code generator here."""


class UnsupportedVersionError(UnsupportedError):
    """A file written by a version of a format that this program does not know."""


class ModelError(TilewrightError):
    """The model file is missing, damaged, inconsistent or hostile."""

    exit_code = EXIT_BAD_INPUT


class ExternalDataError(ModelError):
    """External weights are missing, too short, or lie outside the model's folder."""


class LibraryError(TilewrightError):
    """The file is not a library that Tilewright wrote, or it is damaged."""

    exit_code = EXIT_BAD_INPUT


class DeviceError(TilewrightError):
    """The GPU that a library is for, or its driver, is missing or failed."""

    exit_code = EXIT_TOOL_FAILED


class DataError(TilewrightError):
    """A data file (.npy, .npz) is missing or damaged."""

    exit_code = EXIT_BAD_INPUT


class RecipeError(TilewrightError):
    """A recipe is missing or damaged, or it does not fit the model."""

    exit_code = EXIT_BAD_INPUT


class CalibrationError(DataError):
    """Data for calibration does not fit the model, or cannot show the ranges of its tensors."""


class ToolError(TilewrightError):
    """A tool (compiler, linker, runner) is missing or failed; `details` holds its last lines."""

    exit_code = EXIT_TOOL_FAILED


class DeviceLostError(ToolError):
    """A device does not answer, or stopped in the middle of what it did."""


class OutOfMemoryError(ToolError):
    """Memory ran out; `where` says at what."""


class CompilerError(TilewrightError):
    """Tilewright itself failed, or broke a rule that it checks (an IR contract): a bug to report, not the user's fault.

    Args:
        what, where, details: as `TilewrightError`; the pass or kernel and the nodes of the model that it is about.
        hint: by default that this is our bug, and what a report needs.
    """

    exit_code = EXIT_TOOL_FAILED

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(what, where=where, hint=hint or _REPORT, details=details)


_REPORT = (
    "this is a bug in Tilewright, not in the model: please report it with the model, or the part that is named here"
)
