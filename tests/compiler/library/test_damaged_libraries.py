"""Libraries that were damaged or forged: an error of ours each time, before any of their code runs."""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import emitted_models
import numpy as np
import pytest
from emitted_models import MLP_INPUTS, emitted, mlp
from tilewright.compiler.library import artifact, integrity
from tilewright.compiler.library.artifact import load, read_signature
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.library.signature import SECTION
from tilewright.errors import LibraryError, TilewrightError

X = np.random.default_rng(5).standard_normal((5, 24), dtype=np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("mlp"), MLP_INPUTS, mlp, outputs=["y" * 300]).path


@pytest.fixture
def no_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*arguments: object) -> None:
        raise AssertionError("the code would have been loaded")

    monkeypatch.setattr(artifact, "load_native", loaded)


def outcome(path: Path) -> str:
    """The first line of the error."""
    with pytest.raises(LibraryError) as caught:
        load(path)
    return str(caught.value).splitlines()[0]


@pytest.mark.usefixtures("no_code_runs")
def test_a_flipped_bit_anywhere(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    generator = random.Random(10)
    bits = len(data) * 8
    # Every bit of the two headers, and of the section that tells of them and holds the sums.
    record = data.index(integrity.MAGIC)
    chosen = {*range(64 * 8), *range(record * 8, (record + integrity.RECORD_BYTES) * 8)}
    chosen |= {generator.randrange(bits) for _ in range(600)}
    seen: Counter[str] = Counter()
    damaged = bytearray(data)
    for bit in sorted(chosen):
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "net.so").write_bytes(damaged)
        seen[outcome(tmp_path / "net.so")] += 1
        damaged[bit // 8] ^= 1 << bit % 8
    assert damaged == data
    assert seen["the library is damaged: its checksum does not match"] > len(chosen) * 0.7


@pytest.mark.usefixtures("no_code_runs")
def test_cut_spoilt_and_shuffled(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    generator = random.Random(11)
    for _ in range(400):
        start, end = sorted(generator.randrange(len(data)) for _ in range(2))
        changed = generator.choice(
            [
                data[:start],
                data[:start] + data[end:],
                data[:start] + bytes(end - start) + data[end:],
                data[:start] + generator.randbytes(end - start) + data[end:],
                data[:end] + data[start:],
                data + generator.randbytes(1 + start % 100),
            ]
        )
        if changed != data:
            (tmp_path / "net.so").write_bytes(changed)
            outcome(tmp_path / "net.so")


@pytest.mark.parametrize("tool", [["strip"], ["strip", "--strip-unneeded"], ["strip", "-R", ".comment"]])
def test_stripped_libraries_are_checked_too(path: Path, tmp_path: Path, tool: list[str]) -> None:
    stripped = tmp_path / "stripped.so"
    subprocess.run([*tool, "-o", stripped, path], check=True)
    data = bytearray(stripped.read_bytes())
    assert len(data) < path.stat().st_size
    np.testing.assert_array_equal(load(stripped)(X), load(path)(X))
    # What will be loaded is still vouched for; the sum of what strip took away says nothing any more.
    generator = random.Random(12)
    behind = data.index(integrity.MAGIC) + integrity.RECORD_BYTES
    unused = [*Elf(bytes(data)).section_fields(), (behind - 16, behind)]
    for start, stop in Elf(bytes(data)).segments():
        for _ in range(60):
            at = generator.randrange(start, stop)
            if any(first <= at < last for first, last in unused):
                continue
            data[at] ^= 4
            (tmp_path / "flipped.so").write_bytes(data)
            with pytest.raises(LibraryError):
                load(tmp_path / "flipped.so")
            data[at] ^= 4


def forged(path: Path, place: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A library with another signature of the same length (spaces fill it), sealed as if it were ours."""
    data = path.read_bytes()
    text = next(bytes(part) for part in [Elf(data).section(SECTION) or b""]).split(b"\0", 1)[0]
    signature = json.loads(text)
    # Room for more: names are nobody's concern.
    signature["tilewright_version"] = signature["triple"] = ""
    signature["outputs"][0]["name"] = "y"
    change(signature)
    changed = json.dumps(signature, separators=(",", ":")).encode()
    assert len(changed) <= len(text), "there is no room for this"
    place.write_bytes(data.replace(text, changed.ljust(len(text))))
    integrity.seal(place, SECTION)
    return place


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Sets the last of `keys` at the place that the others lead to."""

    def change(signature: dict[str, Any]) -> None:
        *way, last, value = keys
        inner: Any = signature
        for key in way:
            inner = inner[key]
        inner[last] = value

    return change


ABSURD: list[Any] = [
    None,
    True,
    -1,
    1 << 62,
    1 << 63,
    1 << 64,
    1 << 200,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "1",
    [],
    {},
]


def test_signatures_that_say_what_cannot_be(path: Path, tmp_path: Path) -> None:
    place = tmp_path / "forged.so"
    forged(path, place, lambda signature: None)
    np.testing.assert_array_equal(load(place)(X), load(path)(X))
    changes = [
        put(key, value) for key in ("workspace_bytes", "inputs", "outputs", "kernels", "steps") for value in ABSURD
    ]
    changes += [put("inputs", 0, key, value) for key in ("shape", "dtype", "name") for value in ABSURD if value != "1"]
    changes += [put("inputs", 0, "shape", 1, value) for value in [*ABSURD, 0, 1, 23, 25, 1 << 31, 1 << 47]]
    changes += [
        put("outputs", 0, "shape", value) for value in ([5], [], [7, 5, 0], [1] * 70, [1 << 32] * 4, [0, 1 << 62])
    ]
    changes += [put("outputs", 0, "dtype", value) for value in ("float64", "object", "complex64", "S8", "float16")]
    changes += [put("steps", 0, "kernel", value) for value in (-2, 99, None, "0")]
    changes += [put("name", value) for value in ("", "a b", "../x", "nul\0", "other", 7, None, "\ud800")]
    changes += [put("workspace_bytes", value) for value in (0, 64, 1 << 40)]
    changes += [put("precision", "fp4"), put("threaded", 0), put("threaded", "yes"), put("inputs", 0, "name", "\udc80")]
    changes += [lambda signature: signature["inputs"].append(signature["inputs"][0])]
    changes += [lambda signature: signature["outputs"].extend(copy.deepcopy(signature["outputs"]))]
    changes += [lambda signature: signature["inputs"].clear(), lambda signature: signature["outputs"].clear()]
    accepted = []
    for number, change in enumerate(changes):
        try:
            model = load(forged(path, place, change))
            # Inputs of another shape with as many bytes are all that can be believed: they harm nobody.
            model.run({spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs})
            accepted.append(number)
        except TilewrightError as error:
            assert str(error)
    # Another name for a tensor, and a signature without steps (which only a profiler reads).
    names = [change for number, change in enumerate(changes) if number in accepted]
    assert len(names) <= 4, accepted


def test_a_profile_never_writes_more_than_there_is_room_for(path: Path, tmp_path: Path) -> None:
    fewer = load(forged(path, tmp_path / "fewer.so", lambda signature: signature["steps"].pop()))
    with pytest.raises(TilewrightError):
        fewer.profile({"x": X})


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5_000,
        b'{"format_version":1,"format_version":1}',
        b'{"format_version":true}',
        b'{"format_version":null}',
        b'{"format_version":1}',
        b"\xff\xfe",
        b"",
    ],
    ids=["deep list", "deep object", "long number", "twice", "true", "null", "alone", "no text", "nothing"],
)
def test_strange_texts(text: bytes) -> None:
    from tilewright.compiler.library.signature import parse_signature

    with pytest.raises(TilewrightError):
        parse_signature(text, "net.so")


def test_random_forgeries(path: Path, tmp_path: Path) -> None:
    """Values of a signature exchanged at random; in a process of its own, where a crash would show."""
    code = FORGER.format(
        folder=str(tmp_path),
        library=str(path),
        here=[str(Path(__file__).parent), str(Path(emitted_models.__file__).parent)],
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, accepted = map(int, done.stdout.split())
    assert refused > 100 and refused + accepted == 300


FORGER = """
import random, sys
from pathlib import Path
sys.path[:0] = {here!r}
from test_damaged_libraries import ABSURD, forged, load, np, TilewrightError
generator = random.Random(13)
def leaves(value, way=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*way, key)
        yield from leaves(inner, (*way, key))
def change(signature):
    for _ in range(generator.randint(1, 3)):
        way = generator.choice(list(leaves(signature)))
        inner = signature
        for key in way[:-1]: inner = inner[key]
        inner[way[-1]] = generator.choice([*ABSURD, generator.randint(0, 64), 1 << generator.randint(0, 60)])
counts = [0, 0]
for _ in range(300):
    while True:
        try:
            place = forged(Path({library!r}), Path({folder!r}) / "forged.so", change)
            break
        except AssertionError: pass  # too long
    try:
        model = load(place)
        model.run({{spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}})
        model.profile({{spec.name: np.zeros(spec.shape, spec.dtype) for spec in model.inputs}})
        counts[1] += 1
    except TilewrightError:
        counts[0] += 1
print(*counts)
"""


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.so")
    (tmp_path / "circle.so").symlink_to("circle.so")
    for place in (
        tmp_path / "pipe.so",
        tmp_path / "circle.so",
        tmp_path,
        Path("/dev/null"),
        Path("/dev/zero"),
        Path("a\0b"),
    ):
        for read in (load, read_signature):
            with pytest.raises(LibraryError):
                read(place)
