"""The file of results: what is written is read again, and what does not belong here is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engines import measured
from tilewright.benchmarks.machine import Machine, bfloat16_missing, order_processors, this_machine
from tilewright.benchmarks.measurement import FORMAT, RecordsError, Results, read_results, to_json, write_file
from tilewright.targets.host import read_host

MACHINE = Machine("Some CPU", ("avx2", "fma"), 2, 16, "Linux", "3.11")
RUN = {"command": "the command", "date": "2026-01-02", "source": "v1"}
MEASUREMENTS = [measured("tilewright", 1.0, 2.0), measured("openvino", state="failed", reason="no")]
RESULTS = Results(RUN, MEASUREMENTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "results.json"
    write_file(file, to_json(MACHINE, RESULTS, {"comparisons": []}))
    return file


def test_results_are_read_as_they_were_written(path: Path) -> None:
    assert read_results(path, MACHINE) == RESULTS
    record = json.loads(path.read_text())
    assert record["format"] == FORMAT and record["run"] == RUN
    assert record["machine"]["isa"] == ["avx2", "fma"] and record["engines"]["tilewright"] == "1.0"
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


def test_no_file_is_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path / "none.json", MACHINE) == Results({}, [])


@pytest.mark.parametrize("other", [{"cpu": "Another"}, {"isa": ("avx2", "avx512f")}, {"cores": 4}])
def test_another_machine_is_refused(path: Path, other: dict[str, object]) -> None:
    with pytest.raises(RecordsError, match=r"another machine .*--fresh"):
        read_results(path, replace(MACHINE, **other))  # type: ignore[arg-type]


def test_the_same_machine_after_an_update(path: Path) -> None:
    assert read_results(path, replace(MACHINE, system="Linux 7", python="3.12")) == RESULTS


def test_another_format_is_refused(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
    with pytest.raises(RecordsError, match=f"format {FORMAT + 1}"):
        read_results(path, MACHINE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "machine": {"isa": []}}'])
def test_a_damaged_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(RecordsError, match="--fresh"):
        read_results(path, MACHINE)


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cpu and machine.cores >= 1 and machine.memory_gib >= 1 and machine.same_as(this_machine())


def test_units_for_narrow_operands_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # As /proc/cpuinfo of a Sapphire Rapids spells them.
    flags = "fpu sse2 avx fma avx2 avx512f avx_vnni avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8 avx512_fp16"
    facts = replace(read_host(), flags=frozenset(flags.split()))
    monkeypatch.setattr("tilewright.benchmarks.machine.read_host", lambda: facts)
    known = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
    assert this_machine().isa == known
    assert bfloat16_missing() == ""
    facts = replace(facts, flags=frozenset({"avx2", "fma"}))
    assert this_machine().isa == ("avx2", "fma")
    assert "none of AMX-BF16, AVX512-BF16" in bfloat16_missing()


def test_processors_of_other_cores_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilewright.benchmarks.machine._siblings", lambda processor: str(processor // 2))
    assert order_processors([5, 0, 1, 2, 3, 4]) == [0, 2, 4, 1, 3, 5]
