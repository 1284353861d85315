"""Float arithmetic as IEEE 754 has it, hidden from TVM, whose simplifier takes floats for real numbers.

`hidden.py` has the operators that stand for additions, comparisons and the rest from the moment an operator of the
model is lowered until machine code is written; `functions.py` Relax operators that TVM lacks. Every part of the
compiler may import this package; what it may assume about floats stands in docs/numerics.md.
"""
