"""Time that is over ends what is at work: what tells of itself, and processes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from tilewright.compiler.optimization.attempt import Study
from tilewright.compiler.optimization.clock import Clock, TimeIsUpError
from tilewright.compiler.optimization.crew import local_crew
from tilewright.compiler.optimization.plan import steps_of
from tilewright.compiler.optimization.treatments import KINDS
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process.workers import Workers
from tilewright.compiler.recipes.recipe import Recipe


def test_shares_of_a_limit_end_what_tells() -> None:
    spent, told = [0.0], list[str]()
    clock = Clock(lambda: spent[0], 10.0)
    tell = clock.ending(lambda stage, done, total: told.append(stage), 0.5)

    tell("first", 0, 0)
    spent[0] = 5.5
    with pytest.raises(TimeIsUpError):
        tell("second", 0, 0)

    assert told == ["first"] and clock.left() == 4.5 and clock.left(0.5) < 0
    assert Clock(lambda: 1e9, None).left() == float("inf")


class Sleep(Recipe):
    """Takes long to be unpickled."""

    def __reduce__(self) -> Any:
        return time.sleep, (60,)


def test_processes_end_in_time() -> None:
    """One that stands still is ended with the time, and nothing is said of it; the next one has another process."""
    study = Study("key", b"no model", CompileOptions(), ({"x": np.zeros(1, np.float32)},), 0.1)
    with local_crew(study, 1) as workers:
        dict(workers.outcomes([None]))  # it has started
        start = time.monotonic()
        with pytest.raises(TimeIsUpError):
            dict(workers.outcomes([Sleep()], 0.3))
        assert time.monotonic() - start < 5
        assert dict(workers.outcomes([None]))[0].failed, "there is no model"
        with pytest.raises(TimeIsUpError):
            dict(workers.outcomes([None], 0.0))


@pytest.mark.parametrize("error", [OSError("handle is closed"), ValueError("of another kind")])
def test_what_a_process_is_lost_by_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Its end while it is spoken to is a death of its own; what nobody thought of ends the search, in no wait."""

    def lost(self: Workers, *rest: Any, **named: Any) -> None:
        self.kill()
        raise error

    study = Study("key", b"no model", CompileOptions(), ({"x": np.zeros(1, np.float32)},), 0.1)
    with local_crew(study, 1) as crew:
        monkeypatch.setattr(Workers, "run", lost)
        if isinstance(error, OSError):
            assert dict(crew.outcomes([None]))[0].failed == "its process died"
        else:
            with pytest.raises(ValueError, match="of another kind"):
                dict(crew.outcomes([None, None]))


def test_what_promises_most_comes_first() -> None:
    steps = steps_of(KINDS)
    names = [(step.base, step.treatments[0].kind) for step in steps]

    assert names[:4] == [("whole", "float"), ("whole", "int8"), ("whole", "bf16"), ("work 50%", "float")]
    assert names.index(("work 50%", "int8")) < names.index(("whole", "zeros")) < names.index(("work 20%", "rank"))
    assert len(set(names)) == len(names) == 5 * 6
    assert [step.treatments[0].kind for step in steps_of(("int8",))] == ["float", "int8"]
    few = [(step.base, step.treatments[0].kind) for step in steps_of(("int8", "rank", "channels"))]
    assert few[:4] == [("whole", "float"), ("whole", "int8"), ("whole", "rank"), ("work 50%", "float")]
    for base in {base for base, _ in names}:
        kinds = [kind for each, kind in names if each == base]
        assert kinds[0] == "float", "a base is measured before treatments of it"
