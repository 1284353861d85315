"""The folder in which a library is built: a temporary one, or one that the user wants to keep."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import OutputError
from .temporary import temporary_folder

# All that a compile writes there.
_OURS = re.compile(
    r"kernels_\d+\.o|library\.(?:h|c|o|so|a)|signature\.(?:S|o|json)|weights\.(?:S|o|bin)|record\.bin|exports\.map"
    r"|thread_pool\.c|word_sleep\.c|new_process\.c|simulation\.c|cpu_check\.c|source_\d+\.txt"
)
_MARK = ".tilewright"  # a file in folders whose contents are ours to replace


@contextlib.contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """A folder to build in: `keep`, or one that is gone when the block ends.

    Raises:
        OutputError: as `prepare`, or there is no place for temporary files.
    """
    if keep is None:
        with temporary_folder() as folder:
            yield folder
    else:
        yield prepare(keep)


def prepare(keep: Path) -> Path:
    """Makes a folder ready to be built in; what an earlier compile left there goes.

    Raises:
        OutputError: it cannot be made, or holds files of somebody else that would be replaced.
    """
    try:
        keep.mkdir(parents=True, exist_ok=True)
        found = [path for path in keep.iterdir() if _OURS.fullmatch(path.name)]
        if found and not (keep / _MARK).is_file():
            raise OutputError(
                f"the folder holds files that would be replaced: {', '.join(sorted(path.name for path in found[:4]))}",
                where=str(keep),
                hint="give an empty or a new folder",
            )
        for path in found:
            path.unlink()
        (keep / _MARK).touch()
    except OSError as error:
        raise OutputError(f"the folder cannot be used: {error.strerror}", where=str(keep)) from error
    return keep.resolve()


def is_built_in(output: Path, keep: Path) -> bool:
    """Whether a library to write stands where a compile would write its own files."""
    return bool(_OURS.fullmatch(output.name)) and output.parent.resolve() == keep.resolve()
