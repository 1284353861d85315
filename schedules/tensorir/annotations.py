"""The names by which compute definitions and schedules recognise each other's blocks and functions.

Attributes of a PrimFunc, set when an operator is lowered, read by fusion and by the report:
    tilewright.template   the template that will schedule it
    tilewright.fallback   why its own template refused it, where the plain schedule had to step in
    tilewright.flops      floating point operations of the anchor
    tilewright.concat     the axis of a kernel that concatenates its operands and does nothing else
    tilewright.cast       the dtype that a kernel casts its operand to, doing nothing else
    tilewright.slice      where the window of its operand begins that a kernel copies, doing nothing else
Annotations of a block, which survive fusion:
    tilewright.anchor     on the block a template is built around: the template's name
    tilewright.stage      on a block before the anchor that is to stay a buffer of its own: what it is
"""

TEMPLATE = "tilewright.template"
FLOPS = "tilewright.flops"
CONCAT = "tilewright.concat"
SLICE = "tilewright.slice"
CAST = "tilewright.cast"
ANCHOR = "tilewright.anchor"
STAGE = "tilewright.stage"
FALLBACK = "tilewright.fallback"
