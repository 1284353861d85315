"""Recipes as files: JSON that people edit, and an .npz file beside it for the weights that it replaces."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RecipeError, UnsupportedVersionError
from ..process.install import written_whole
from ..process.places import output_errors
from .recipe import Array, BalanceEntry, ModelIdentity, Recipe
from .sections import BALANCE, LAYER_SECTIONS, TENSOR, integer, read_object, text

FORMAT, VERSION = "tilewright-recipe", 1
_LARGEST_BYTES = 1 << 28  # of the JSON file
_ARRAYS = ".arrays.npz"  # no name that samples have


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Reads a recipe and checks all of it.

    Raises:
        RecipeError: it is missing, damaged, or holds what no recipe has; `where` names the place.
        UnsupportedVersionError: a newer Tilewright wrote it.
    """
    place = Path(path)
    data = _load(place)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise RecipeError("the file is no recipe", where=str(place), hint="tilewright quantize writes them")
    if data.get("version") != VERSION:
        raise UnsupportedVersionError(
            f"the recipe has version {data.get('version')!r}; {VERSION} is known here", where=str(place)
        )
    whole = read_object(
        data,
        {
            "format": text,
            "version": integer(1, VERSION),
            **dict.fromkeys(("model", "tensors", "balance", "layers", "arrays"), _any),
        },
        str(place),
    )
    identity = read_object(whole.get("model", {}), {"name": text, "sha256": text}, f"{place}: model")
    tensors = {
        name: TENSOR.read(entry, f"{place}: tensor {name!r}")
        for name, entry in _object(whole.get("tensors", {}), f"{place}: tensors").items()
    }
    layers = {
        name: _layer(entry, f"{place}: layer {name!r}")
        for name, entry in _object(whole.get("layers", {}), f"{place}: layers").items()
    }
    balance = {
        name: BALANCE.read(entry, f"{place}: balance of {name!r}")
        for name, entry in _object(whole.get("balance", {}), f"{place}: balance").items()
    }
    arrays = _arrays(place, whole["arrays"], balance) if "arrays" in whole else {}
    return Recipe(ModelIdentity(**identity), tensors, layers, arrays, str(place), balance)


def recipe_of(given: str | os.PathLike[str] | Recipe | None) -> Recipe | None:
    """A recipe, as it is or read from its file.

    Raises:
        RecipeError, UnsupportedVersionError: as `read_recipe`.
    """
    return given if given is None or isinstance(given, Recipe) else read_recipe(given)


def write_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Writes a recipe, and its arrays beside it where it has any: first those, so that they are never missing.

    Raises:
        OutputError: the place cannot be written.
    """
    place = Path(path)
    data: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    data["model"] = {"name": recipe.model.name, "sha256": recipe.model.sha256}
    data["tensors"] = {name: TENSOR.write(entry) for name, entry in recipe.tensors.items()}
    if recipe.balance:
        data["balance"] = {name: BALANCE.write(entry) for name, entry in recipe.balance.items()}
    data["layers"] = {
        name: {key: LAYER_SECTIONS[key].write(entry) for key, entry in sections.items()}
        for name, sections in recipe.layers.items()
    }
    with output_errors(place):
        if recipe.arrays:
            beside = place.with_suffix(_ARRAYS)
            with written_whole(beside) as file:
                np.savez(file, allow_pickle=False, **_numbered(recipe.arrays))
            data["arrays"] = {
                "file": beside.name,
                "sha256": _digest(beside),
                "names": list(recipe.arrays),
                "balance": _factors_digest(recipe.balance),
            }
        with written_whole(place) as file:
            file.write((_in_lines(data) + "\n").encode())


def _in_lines(data: Any) -> str:
    """JSON, a line for each value, but one for a list of numbers (no text in JSON has a line break)."""
    text_of = json.dumps(data, indent=1, ensure_ascii=False)
    return re.sub(r"\[\n[-+.\deE\s,]+\]", lambda found: " ".join(found[0].split()), text_of)


def _numbered(arrays: Any) -> dict[str, Array]:
    """Arrays under names that a zip file takes: those of initializers may hold anything."""
    return {f"a{number}": np.asarray(array) for number, array in enumerate(arrays.values())}


def _any(value: Any) -> Any:
    return value


def _load(place: Path) -> Any:
    try:
        if place.stat().st_size > _LARGEST_BYTES:
            raise RecipeError("the file is too large for a recipe", where=str(place))
        return json.loads(place.read_text("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except FileNotFoundError:
        raise RecipeError(
            "there is no such recipe",
            where=str(place),
            hint="tilewright quantize MODEL --calibration DATA -o RECIPE.json",
        ) from None
    except OSError as error:
        raise RecipeError(f"the recipe cannot be read: {error.strerror or error}", where=str(place)) from error
    except (ValueError, RecursionError) as error:
        raise RecipeError("the recipe is no JSON", where=str(place), details=[str(error)[:200]]) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError("an object in braces is needed here", where=where)
    return value


def _layer(value: Any, where: str) -> dict[str, Any]:
    sections = _object(value, where)
    unknown = sorted(set(sections) - set(LAYER_SECTIONS))
    if unknown:
        raise RecipeError(f"{unknown[0]!r} is not known here", where=where, hint=f"known: {', '.join(LAYER_SECTIONS)}")
    return {key: LAYER_SECTIONS[key].read(entry, f"{where}: {key}") for key, entry in sections.items()}


def _arrays(place: Path, value: Any, balance: Mapping[str, BalanceEntry]) -> dict[str, Array]:
    where = f"{place}: arrays"
    entry = read_object(value, {"file": text, "sha256": text, "names": _any, "balance": text}, where)
    names = entry.get("names")
    if "file" not in entry or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecipeError("the file of arrays and their names are needed", where=where)
    if entry.get("balance", "") not in ("", _factors_digest(balance)):
        raise RecipeError(
            "the arrays are weights for channels that are balanced by other factors",
            where=where,
            hint="leave 'balance' as it was written, or take 'arrays' out, too",
        )
    beside = place.parent / Path(entry["file"]).name
    try:
        digest = _digest(beside)
        if entry.get("sha256", digest) != digest:
            raise RecipeError("the file of arrays is not the one that the recipe was written with", where=str(beside))
        with np.load(beside, allow_pickle=False) as loaded:
            return {name: np.asarray(loaded[f"a{number}"]) for number, name in enumerate(names)}
    except FileNotFoundError:
        raise RecipeError(
            "the file of arrays is missing",
            where=str(beside),
            hint="it was written beside the recipe: keep them together",
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RecipeError("the file of arrays is damaged", where=str(beside), details=[str(error)[:200]]) from error


def _factors_digest(balance: Mapping[str, BalanceEntry]) -> str:
    """The checksum of the factors that arrays were made for."""
    factors = {name: entry.factors for name, entry in balance.items()}
    return hashlib.sha256(json.dumps(factors, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
