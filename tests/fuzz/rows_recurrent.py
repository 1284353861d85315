"""Rows of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from draft import Draft, Unfit
from rows import row

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@row("RNN", "GRU", "LSTM")
def recurrent(d: Draft, op: str) -> None:
    if d.dtype != "float32":
        raise Unfit
    x = d.pick(
        rank=3,
        fits=lambda a: a.size < 1500 and min(a.shape) > 0,
        otherwise=lambda: d.leaf((d.between(1, 6), d.between(1, 4), d.one_of((1, 3, 8)))),
    )
    steps, batch, size = d.array(x).shape
    hidden, gates = d.one_of((1, 3, 5, 16, 24, 33)), _GATES[op]
    direction = d.one_of(("forward", "reverse", "bidirectional"))
    directions = 2 if direction == "bidirectional" else 1

    def weights(*shape: int) -> str:
        return d.leaf(shape, low=-0.7, high=0.7, constant=d.chance(0.9))

    places = [x, weights(directions, gates * hidden, size), weights(directions, gates * hidden, hidden)]
    places.append(weights(directions, 2 * gates * hidden) if d.chance(0.7) else "")
    places.append(d.constant(d.rng.integers(1, steps + 1, batch).astype(np.int32)) if d.chance(0.3) else "")
    states = [weights(directions, batch, hidden) if d.chance(0.5) else "" for _ in range(1 + (op == "LSTM"))]
    places += states
    if op == "LSTM" and d.chance(0.3):
        places.append(weights(directions, 3 * hidden))
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if d.chance(0.2):
        attributes["clip"] = 0.5
    if op == "GRU":
        attributes["linear_before_reset"] = d.one_of((None, 1))
    if op == "LSTM":
        attributes["input_forget"] = d.one_of((None, 1))
    d.node_outputs(op, places, 3 if op == "LSTM" else 2, **attributes)
