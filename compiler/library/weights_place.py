"""Where the weights of a library stand in its file, and other weights in their place."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from ...errors import LibraryError
from .elf import Elf
from .integrity import seal
from .signature import SECTION, Signature


def weights_symbol(name: str) -> str:
    """The symbol of the weights of a library whose symbols have this prefix."""
    return f"{name}_weights_"


def write_weights(path: Path, signature: Signature, contents: Mapping[int, bytes], where: str) -> int:
    """Writes contents into the weights of a library, and seals it again; how many bytes belong to those that changed.

    Args:
        path: the library, which is changed.
        contents: by where they start in the weights.
        where: names it in errors.

    Raises:
        LibraryError: nothing in the file says where its weights are.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        with memoryview(data) as view:
            start = _start(Elf(view, where), signature)
        changed = 0
        for offset, each in contents.items():
            place = slice(start + offset, start + offset + len(each))
            if data[place] != each:
                data[place] = each
                changed += len(each)
    seal(path, SECTION)
    return changed


def _start(elf: Elf, signature: Signature) -> int:
    wanted = weights_symbol(signature.name)
    address = next((each.value for each in elf.symbols() if each.is_defined and each.name == wanted), None)
    place = None if address is None else elf.offset_of(address, signature.weights_bytes)
    if place is None:
        raise LibraryError(
            "nothing in the library says where its weights are",
            where=elf.where,
            hint="use the file as `tilewright compile` wrote it, before strip",
        )
    return place
