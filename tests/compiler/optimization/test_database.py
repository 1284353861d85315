"""The database: what a kill leaves behind is read, and another search's is refused."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tilewright.compiler.optimization.candidate import Candidate
from tilewright.compiler.optimization.data import data_of
from tilewright.compiler.optimization.database import Database, Measured, Row, Surveyed
from tilewright.compiler.process.checksum import key_of
from tilewright.compiler.recipes.recipe import RankEntry, Recipe
from tilewright.errors import CalibrationError, DataError, RecordsWarning, UsageError

ROW = Row("whole", "int8", "conv", 1e-4, 2e-6, 640)


def test_lines_come_back_and_time_adds_up(tmp_path: Path) -> None:
    first = Database(tmp_path / "s", "model", "key")
    first.add([ROW, Surveyed("whole", "int8")])
    first.add([Measured(Candidate().key, 98.5, 0.01, 0.5, 0.0, 1000, origin="exact solve")])
    first.keep("whole int8", Recipe(layers={"conv": {"rank": RankEntry(3)}}))
    with pytest.raises(UsageError, match="another search goes on"):
        Database(tmp_path / "s", "model", "key")
    first.close()

    again = Database(tmp_path / "s", "model", "key")

    assert again.rows == {("whole", "int8", "conv"): ROW}
    assert again.surveyed == {("whole", "int8"): Surveyed("whole", "int8")}
    assert again.measured == first.measured
    assert again.spent >= first.spent - 0.1
    recipe = again.recipe("whole int8")
    assert recipe is not None and recipe.entries(RankEntry) == {"conv": RankEntry(3)}
    assert again.recipe("whole bf16") is None


@pytest.mark.parametrize(
    "change",
    [
        {"candidate": "zz"},
        {"candidate": "5"},
        {"candidate": '["whole",[["conv",3]]]'},
        {"quality": "much"},
        {"error": None},
        {"failed": 3},
        {"kind": "other"},
    ],
)
def test_a_line_that_no_search_writes_is_left_out_and_told(change: dict[str, Any], tmp_path: Path) -> None:
    with closing(Database(tmp_path / "s", "model", "key")) as first:
        first.add([Measured(Candidate().key, 98.5), Measured(Candidate("narrow").key, 97.5)])
    file = tmp_path / "s" / "database.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), **change})
    file.write_text("\n".join(lines) + "\n")

    with pytest.warns(RecordsWarning, match="line 3 is none that a search writes"):
        again = Database(tmp_path / "s", "model", None)

    assert list(again.measured) == [Candidate().key]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "s", "model", "key")) as first:
        first.add([ROW, Surveyed("whole", "int8")])
    file = tmp_path / "s" / "database.jsonl"
    text = file.read_text()
    file.write_text(text[: text.index('"surveyed"') + 20])

    with closing(Database(tmp_path / "s", "model", "key")) as second:
        assert second.rows and not second.surveyed
        second.add([Surveyed("whole", "int8")])

    assert Database(tmp_path / "s", "model", None).surveyed


def test_another_search_is_refused(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "s", "model", key_of(b"model", "data"))) as first:
        first.add([ROW])

    with pytest.raises(DataError, match="another model, data or way"):
        Database(tmp_path / "s", "model", key_of(b"model", "other data"))
    assert Database(tmp_path / "s", "model", None).rows
    with pytest.raises(DataError, match="no search"):
        Database(tmp_path / "none", "model", None)
    (tmp_path / "s" / "database.jsonl").write_text("nonsense\n")
    with pytest.raises(DataError, match="no search"):
        Database(tmp_path / "s", "model", None)


def test_samples_are_halved_and_labels_go_along() -> None:
    samples = [{"x": np.full(2, number, np.float32)} for number in range(7)]

    data = data_of(samples, np.arange(7))

    assert [int(each["x"][0]) for each in data.fitted] == [0, 2, 4, 6]
    assert [int(each["x"][0]) for each in data.held] == [1, 3, 5]
    assert data.labels is not None and data.labels.tolist() == [1, 3, 5]
    assert data.digest != data_of(samples).digest
    with pytest.raises(CalibrationError, match="4 are needed"):
        data_of(samples[:3])
    with pytest.raises(DataError, match="more samples than labels"):
        data_of(samples, np.arange(3))
    with pytest.raises(DataError, match="7 samples and 9 labels"):
        data_of(samples, np.arange(9))
    with pytest.raises(DataError, match="one number is not a label"):
        data_of(samples, np.array(1))


def test_a_folder_belongs_to_a_model(tmp_path: Path) -> None:
    Database(tmp_path / "s", "model", "key").close()
    with pytest.raises(DataError, match="another model"):
        Database(tmp_path / "s", "other model", None)
