"""Where a compile's files come from and go to: looked at before the work begins, written as one when it is done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...errors import ModelError, OutputError
from . import interrupt
from .install import check_place, install, replaceable
from .journal import repair
from .work_folder import is_built_in, prepare


def check_model(model: Any) -> None:
    """Whether the file is there, if the model is one.

    Raises:
        ModelError: it is not.
    """
    if isinstance(model, str | os.PathLike) and not Path(model).exists():
        raise ModelError("the model file does not exist", where=os.fspath(model))


def check_output(output: Path, model: Any = None) -> None:
    """Finds out before a long compile whether the output can be written; ends what a killed compile left half done.

    Raises:
        OutputError: the folder is missing or not writable, or in the place of the library or of its header stands
            something that must not be replaced: the model, for example.
    """
    if not output.name:
        raise OutputError("the output is a folder", where=str(output), hint="give the library a name: -o model.so")
    if output.suffix == ".h":
        raise OutputError("the output has the name of its own header", where=str(output), hint="end it with .so or .a")
    for place in (output, output.with_suffix(".h")):
        given = isinstance(model, str | os.PathLike) and Path(model).exists()
        if given and place.exists() and place.samefile(model):
            raise OutputError("the output would replace the model", where=str(place), hint="give it another name")
        check_place(place)
    library = replaceable(output)
    repair(library)
    try:
        # Permissions alone do not tell: file systems can be mounted read-only.
        for folder in {library.parent, output.parent}:
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}", where=str(output)) from error


def check_folder(output: Path, model: Any = None) -> None:
    """Finds out before a long compile whether a folder of sources can be written.

    Raises:
        OutputError: its parent is missing or not writable, or in its place stands a file.
    """
    parent = output.absolute().parent
    if not parent.is_dir():
        raise OutputError("the output's folder does not exist", where=str(output), hint=f"mkdir -p {output.parent}")
    if output.exists() and not output.is_dir():
        raise OutputError("the output is a file", where=str(output), hint="C sources go into a folder: -o model_c")
    try:
        with tempfile.TemporaryFile(dir=output if output.exists() else parent):
            pass
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}", where=str(output)) from error


def make_folders(output: Path | None, save_ir: Path | None, keep_temps: Path | None) -> None:
    """Makes the folders that are written on the way.

    Raises:
        OutputError: one cannot be made or used, or the output has the name of a file in it.
    """
    if save_ir is not None:
        try:
            save_ir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder cannot be made: {error.strerror}", where=str(save_ir)) from error
    if keep_temps is not None:
        prepare(keep_temps)
        if output is not None and is_built_in(output, keep_temps):
            raise OutputError(
                "the library has the name of one of the files to keep",
                where=str(output),
                hint="give another folder with --keep-temps",
            )


def publish(files: Mapping[Path, Path]) -> None:
    """Puts the finished files (each with its place) there, all or none; Ctrl-C waits for it.

    Raises:
        OutputError: a place cannot be written.
    """
    hint = "nothing was left there; free some space or give another place with -o"
    with output_errors(next(iter(files.values())), hint), interrupt.shielded(), _folders_of(files.values()):
        install(files)


@contextmanager
def _folders_of(places: Iterable[Path]) -> Iterator[None]:
    """Makes the folders that places are in, and takes away those it made when the block fails."""
    made: list[Path] = []
    try:
        for folder in dict.fromkeys(place.parent for place in places):
            for each in reversed([folder, *folder.parents]):
                if not each.exists():
                    each.mkdir()
                    made.append(each)
        yield
    except BaseException:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise


@contextmanager
def output_errors(output: Path, hint: str | None = None) -> Iterator[None]:
    """Says of a file that cannot be written inside the block which one it is."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the output cannot be written: {error.strerror or error}",
            where=str(error.filename2 or error.filename or output),
            hint=hint,
        ) from error
