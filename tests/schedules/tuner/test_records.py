"""Records: written and read again, merged, the best of them, and what is no record."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.errors import RecordsWarning
from tilewright.schedules.templates.contraction import MultiplyAddChoice, Workload
from tilewright.schedules.templates.keys import key_of
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.templates.template import choose_default
from tilewright.schedules.tuner.records import CRASHED, Record, Writer, best, chooser_of, fingerprint, read, recorded

TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
WORKLOAD = Workload(1, 49, 96, (160,))
CHOICES = [MultiplyAddChoice(4, 1), MultiplyAddChoice(3, 2), MultiplyAddChoice(2, 2, 5)]


def record(choice: object = CHOICES[0], ratio: float = 0.9, **changed: object) -> Record:
    """One of a contraction on the target."""
    made = Record(key_of(WORKLOAD), "contraction", str(choice), 1e-3, ratio, fingerprint(TARGET), 1)
    return replace(made, **changed)  # type: ignore[arg-type]  # fields by name


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for batch in ([record(ratio=0.5), record(CHOICES[1])], [record(state=CRASHED)]):
        writer = Writer(path)
        writer.append(batch)
        writer.close()

    assert read(path) == ([record(ratio=0.5), record(CHOICES[1]), record(state=CRASHED)], [])


def test_a_line_that_was_cut_off_costs_that_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(record().line() + record(CHOICES[1]).line()[:40])

    writer = Writer(path)
    writer.append([record(CHOICES[2])])
    writer.close()

    found, problems = read(path)
    assert found == [record(), record(CHOICES[2])]
    assert len(problems) == 1 and "line 2" in problems[0]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", "no record"),
        ('{"format": 99}', "format is 99"),
        (record().line().replace('"ratio":0.9', '"ratio":"fast"'), "ratio is 'fast'"),
        (record().line().replace("MultiplyAddChoice", "OtherChoice"), "no choice"),
        (record().line().replace("rows=4", "height=4"), "no choice"),
        ("\x00\xff", "skipped"),
    ],
)
def test_what_is_no_record_is_skipped(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(line.rstrip("\n") + "\n" + record().line())

    found, problems = read(path)
    assert found == [record()]
    assert len(problems) == 1 and why in problems[0]


def test_the_best_does_not_depend_on_the_order() -> None:
    lucky = [record(CHOICES[0], 0.5), record(CHOICES[0], 0.95)]  # measured again, it was slower
    failed = [record(CHOICES[1], 0.3), record(CHOICES[1], 0.0, state=CRASHED)]
    others = [record(CHOICES[2], 0.8), record(CHOICES[0], 0.1, threads=4), record(CHOICES[0], 0.1, target="other")]
    records = [*lucky, *failed, *others]

    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert best(records, TARGET, 1) == {key_of(WORKLOAD): record(CHOICES[2], 0.8)}


def test_what_is_no_faster_is_not_used() -> None:
    assert best([record(ratio=1.02)], TARGET, 1) == {}


def test_choices_of_records_are_taken_where_the_template_has_them() -> None:
    def chosen(choice: object) -> object:
        return recorded({key_of(WORKLOAD): record(choice)})([CONTRACTION], WORKLOAD, TARGET).choice

    default = choose_default([CONTRACTION], WORKLOAD, TARGET).choice
    assert chosen(CHOICES[1]) == CHOICES[1]
    assert chosen(MultiplyAddChoice(99, 99)) == default


def test_new_fields_with_defaults_leave_old_keys_and_choices_alone() -> None:
    assert key_of(WORKLOAD) == "Workload(batch=1, rows=49, columns=96, k=(160,))"
    assert key_of(replace(WORKLOAD, lhs="bfloat16")) != key_of(WORKLOAD)
    old = json.loads(record().line())
    del old["software"], old["state"]
    old["choice"] = "MultiplyAddChoice(rows=4, vectors=1)"
    assert best([Record(**{k: v for k, v in old.items() if k != "format"})], TARGET, 1)


def test_another_machine_s_records_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(record(target="riscv64-linux-gnu generic").line() + "no record\n")

    with pytest.warns(RecordsWarning) as caught:
        choose = chooser_of(path, TARGET)
    texts = [str(each.message) for each in caught]
    assert any("says nothing of x86_64" in text and "riscv64" in text for text in texts)
    assert any("line 2: skipped" in text for text in texts)
    assert choose([CONTRACTION], WORKLOAD, TARGET) == choose_default([CONTRACTION], WORKLOAD, TARGET)
