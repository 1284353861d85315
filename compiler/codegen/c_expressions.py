"""Expressions of lowered TensorIR as C99: exact constants, no float that becomes a double, functions by their names.

A function that C has no operator for is a helper, a few lines that stand before the kernels (`helper_texts`), or one of
libm. Both are collected while expressions are written, so that a model's files have what they use and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import tvm
from tvm import tirx
from tvm.ir import Call, TensorLoad

from ...errors import CompilerError, UnsupportedError
from ...hidden_floats import dtype_of, is_float, name_of
from ...ir_types import Buffer, Node, Scalar, Var
from ...schedules.tensorir.rebuild import found
from ...targets.target import CVectors
from ..library.tensor_spec import ELEMENT_BYTES
from .c_halves import HALF, half_constant, narrowed, widened
from .c_literals import SUFFIXES, c_type, float_constant, integer_constant, intrinsic_name, is_closed
from .c_used import Used
from .c_vectors import NoVectorsError, VectorWriter, is_vector, wrapping_step

# Nodes with two operands: the operator, and whether its result may not fit a type that is narrower than int.
_OPERATORS: Mapping[type, tuple[str, bool]] = MappingProxyType(
    {
        tirx.Add: ("+", True),
        tirx.Sub: ("-", True),
        tirx.Mul: ("*", True),
        tirx.Div: ("/", True),
        tirx.Mod: ("%", False),
        tirx.EQ: ("==", False),
        tirx.NE: ("!=", False),
        tirx.LT: ("<", False),
        tirx.LE: ("<=", False),
        tirx.GT: (">", False),
        tirx.GE: (">=", False),
        tirx.And: ("&&", False),
        tirx.Or: ("||", False),
        tirx.BitwiseAnd: ("&", False),
        tirx.BitwiseOr: ("|", False),
        tirx.BitwiseXor: ("^", False),
        tirx.RShift: (">>", False),
    }
)
_WRAPPING, _WRAPPING_DTYPES = "+-*", ("int32", "int64")
# What stands without parentheses inside of a sum.
_FACTORS = (tirx.Mul,)
# LLVM's intrinsics that are functions of libm under another name; the others are called as LLVM calls them.
_LIBM_NAMES: Mapping[str, str] = MappingProxyType({"roundeven": "rint", "minnum": "fmin", "maxnum": "fmax"})
_LIBM_LIST = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs floor fma fmax
    fmin fmod hypot ldexp log log10 log1p log2 nearbyint nextafter pow rint round sin sinh sqrt tan tanh tgamma trunc
"""
LIBM = frozenset(_LIBM_LIST.split())
_FREE = ("llvm.arithmetic.fence", "llvm.expect")  # what says something about its operand, and computes nothing
_PREFETCH = "llvm.prefetch"


@dataclass
class Expressions:
    """Writes the expressions of one kernel.

    Attributes:
        used: what they call.
        variable: the name of a variable.
        element: an element of a buffer, from its index.
        place: where a vector begins, as `VectorWriter` has it.
        text_of: the text in C of a function of the target; empty for others.
        vectors: the target's.
    """

    used: Used
    variable: Callable[[Var], str]
    element: Callable[[Buffer, Scalar], str]
    place: Callable[[Buffer, Scalar], tuple[str, bool]]
    text_of: Callable[[str], str]
    vectors: CVectors | None
    _named: dict[Var, str] = field(default_factory=dict)  # what stands for a variable that an expression names

    def helper(self, name: str, text: str) -> str:
        """A helper's name, whose text will be there."""
        return self.used.helper(name, text)

    @property
    def vector(self) -> VectorWriter:
        """Writes expressions of vectors."""
        return VectorWriter(self, self.place)

    def __call__(self, node: Scalar) -> str:
        """An expression, which may have to stand in parentheses."""
        if isinstance(node, tirx.Var):
            return self._named[node] if node in self._named else self.variable(node)
        if is_vector(node) and not name_of(node).endswith("_extern"):
            return self.vector(node)
        if isinstance(node, tirx.Let):  # where it stands, since what an operand guards may not be computed elsewhere
            self._named[node.var] = self.inner(node.value)
            return self(node.body)
        if isinstance(node, tirx.IntImm):
            return integer_constant(int(node.value), dtype_of(node))
        if isinstance(node, tirx.FloatImm):
            if dtype_of(node) == HALF:
                return half_constant(float(node.value))
            return float_constant(float(node.value), self._float(node))
        if isinstance(node, TensorLoad):
            return self.element(node.source, node.indices[0])
        if isinstance(node, tirx.Cast):
            wrapping = wrapping_step(node)
            return self._cast(node) if wrapping is None else self._wrapping(wrapping)
        if isinstance(node, tirx.Not):
            return f"!{self.inner(node.a)}"
        if isinstance(node, tirx.BitwiseNot):
            return f"({c_type(dtype_of(node))})~{self.inner(node.a)}"
        if isinstance(node, (tirx.Min, tirx.Max)):
            return self._extremum(node)
        if isinstance(node, tirx.LShift):
            return self._shifted_left(node)
        if isinstance(node, tirx.Select):
            return self._choice(node.condition, node.true_value, node.false_value)
        if isinstance(node, tirx.Mod) and is_float(node):
            return self._libm("fmod", dtype_of(node), node.a, node.b)
        if type(node) in _OPERATORS:
            return self._binary(node)
        if isinstance(node, Call):
            return self._call(node)
        raise CompilerError(f"C has nothing for {type(node).__name__}")

    def inner(self, node: Scalar) -> str:
        """An expression as an operand."""
        text = self(node)
        return text if text.replace("_", "").replace(".", "").isalnum() or is_closed(text) else f"({text})"

    def wide(self, node: Scalar) -> str:
        """An operand that can be computed with: of float16 the float32."""
        return widened(self.used, self(node)) if dtype_of(node) == HALF else self.inner(node)

    def _float(self, node: Scalar) -> str:
        dtype = dtype_of(node)
        if dtype not in SUFFIXES:
            raise UnsupportedError(
                f"{self.used.language.name} cannot compute in {dtype}",
                where=self.used.language.asked,
                hint="compile a model of float32",
            )
        return dtype

    def _binary(self, node: Scalar) -> str:
        operator, widens = _OPERATORS[type(node)]
        if dtype_of(node.a) == HALF:
            text = f"{self.wide(node.a)} {operator} {self.wide(node.b)}"
            return narrowed(self.used, text) if dtype_of(node) == HALF else text
        dtype = dtype_of(node)
        if operator in _WRAPPING and dtype in _WRAPPING_DTYPES and found(node, TensorLoad):
            return self._wrapping(node)  # of numbers of the model: indices never leave their range
        text = f"{self._term(node, node.a)} {operator} {self._term(node, node.b)}"
        return f"({c_type(dtype)})({text})" if widens and _is_narrow(node) else text

    def _wrapping(self, node: Scalar) -> str:
        """A sum, a difference or a product that wraps, as signed ones do not in C."""
        operator, own = _OPERATORS[type(node)][0], c_type(dtype_of(node))
        unsigned = f"u{own.removeprefix('u')}"
        return f"({own})(({unsigned}){self.inner(node.a)} {operator} ({unsigned}){self.inner(node.b)})"

    def _term(self, of: Scalar, node: Scalar) -> str:
        """An operand of a binary operator, without parentheses where C needs none."""
        operator, _ = _OPERATORS[type(of)]
        is_sum = operator == "+" and node.same_as(of.a) and isinstance(node, tirx.Add) and not _is_narrow(of)
        is_product = operator in "+-" and isinstance(node, _FACTORS) and not _is_narrow(node)
        return self(node) if is_sum or is_product else self.inner(node)  # sums from left to right

    def _shifted_left(self, node: Scalar) -> str:
        """Without the sign, as a shift of negative numbers is not defined."""
        dtype = dtype_of(node)
        unsigned = "uint64_t" if ELEMENT_BYTES[dtype] == 8 else "uint32_t"
        return f"({c_type(dtype)})(({unsigned}){self.inner(node.a)} << {self.inner(node.b)})"

    def _cast(self, node: Scalar) -> str:
        source, result = dtype_of(node.value), dtype_of(node)
        if result == "bool":
            return f"{self.wide(node.value)} != 0"
        if HALF in (source, result) and "bfloat16" not in (source, result):
            value = self.wide(node.value)
            if result != HALF:
                return f"({c_type(result)}){value}"
            return self(node.value) if source == HALF else narrowed(self.used, value, source)
        for dtype in (source, result):
            if "float" in dtype and dtype not in SUFFIXES:
                raise UnsupportedError(
                    f"{self.used.language.name} cannot convert {source} to {result}",
                    where=self.used.language.asked,
                    hint="use --precision fp32",
                )
        return f"({c_type(result)}){self.inner(node.value)}"

    def _extremum(self, node: Scalar) -> str:
        """The second if one of them is NaN."""
        name, sign = ("min", "<") if isinstance(node, tirx.Min) else ("max", ">")
        if dtype_of(node) == HALF:
            return f"{self.wide(node.a)} {sign} {self.wide(node.b)} ? {self.inner(node.a)} : {self.inner(node.b)}"
        kind = c_type(dtype_of(node))
        helper = self.used.function(
            f"{name}_{dtype_of(node)}",
            f"{kind} {name}_{dtype_of(node)}({kind} a, {kind} b) {{ return a {sign} b ? a : b; }}",
        )
        return f"{helper}({self(node.a)}, {self(node.b)})"

    def _choice(self, condition: Scalar, yes: Scalar, no: Scalar) -> str:
        return f"{self.inner(condition)} ? {self.inner(yes)} : {self.inner(no)}"

    def _call(self, call: Call) -> str:
        name = name_of(call).split(".")[-1]
        if name in _OF_CALLS:
            return _OF_CALLS[name](self, call)
        if name in LIBM and is_float(call):
            return self._libm(name, dtype_of(call), *call.args)
        raise CompilerError(f"C has no function {name_of(call)}")

    def _if_then_else(self, call: Call) -> str:
        return self._choice(*call.args)

    def _likely(self, call: Call) -> str:
        return self(call.args[0])

    def _not_a_number(self, call: Call) -> str:
        if dtype_of(call.args[0]) == HALF:
            return f"({self.inner(call.args[0])} & 0x7fff) > 0x7c00"
        dtype = self._float(call.args[0])
        kind = c_type(dtype)
        helper = self.used.function(f"is_nan_{dtype}", f"int is_nan_{dtype}({kind} x) {{ return x != x; }}")
        return f"{helper}({self(call.args[0])})"

    def _bits(self, call: Call) -> str:
        source, result = dtype_of(call.args[0]), dtype_of(call)
        if source == result or c_type(source) == c_type(result):
            return self(call.args[0])
        text = (
            f"{c_type(result)} {result}_of_{source}({c_type(source)} x) {{\n"
            f"  {c_type(result)} y;\n  memcpy(&y, &x, sizeof y);\n  return y;\n}}"
        )
        return f"{self.used.function(f'{result}_of_{source}', text)}({self(call.args[0])})"

    def _address(self, call: Call) -> str:
        load = call.args[0]
        return f"&{self.element(load.source, load.indices[0])}"

    def _inverted(self, call: Call) -> str:
        return f"({c_type(dtype_of(call))})~{self.inner(call.args[0])}"

    def _external(self, call: Call) -> str:
        symbol = str(call.args[0].value)
        text = self.text_of(symbol)
        if text:
            return f"{self.used.helper(symbol, text)}({', '.join(map(self, call.args[1:]))})"
        base = symbol.removesuffix("f") if symbol not in LIBM else symbol
        if is_vector(call):
            raise NoVectorsError(f"C has no function {symbol} of vectors")
        if base not in LIBM:
            raise CompilerError(f"C has no function {symbol}")
        return self._libm(base, dtype_of(call), *call.args[1:])

    def _intrinsic(self, call: Call) -> str:
        """An intrinsic of LLVM's, by which lowering says what few languages have an operator for."""
        name = intrinsic_name(call)
        operands = [operand for operand in call.args[1:] if isinstance(operand, tvm.ir.Expr)]
        if name in _FREE:
            return self(operands[0])
        short = name.removeprefix("llvm.").split(".")[0]
        if short == "fmuladd":
            return self._multiply_add(dtype_of(call), *operands)
        base = _LIBM_NAMES.get(short, short)
        if base not in LIBM:
            raise CompilerError(f"C has nothing for {name}")
        return self._libm(base, dtype_of(call), *operands)

    def _multiply_add(self, dtype: str, *operands: Scalar) -> str:
        """x * y + z in one rounding where that is fast: C says where."""
        if dtype == HALF:
            return narrowed(self.used, " + ".join((" * ".join(map(self.wide, operands[:2])), self.wide(operands[2]))))
        name, macro = ("multiply_add", "FP_FAST_FMAF") if dtype == "float32" else ("multiply_add_double", "FP_FAST_FMA")
        fused = f"fma{SUFFIXES[dtype]}"
        self.used.helper(
            name,
            f"#if defined({macro}) || defined(__{macro})\n#define {name}(x, y, z) {fused}(x, y, z)\n"
            f"#else\n#define {name}(x, y, z) ((x) * (y) + (z))\n#endif",
        )
        return f"{name}({', '.join(map(self, operands))})"

    def _libm(self, base: str, dtype: str, *operands: Scalar) -> str:
        if dtype == HALF:
            return narrowed(self.used, f"{self._libm_name(base, 'float32')}({', '.join(map(self.wide, operands))})")
        return f"{self._libm_name(base, dtype)}({', '.join(map(self, operands))})"

    def _libm_name(self, base: str, dtype: str) -> str:
        if dtype not in SUFFIXES:
            raise UnsupportedError(
                f"{self.used.language.name} cannot compute in {dtype}",
                where=self.used.language.asked,
                hint="compile a model of float32",
            )
        self.used.libm.add(base + SUFFIXES[dtype])
        return base + SUFFIXES[dtype]


_OF_CALLS: Mapping[str, Callable[[Expressions, Call], str]] = MappingProxyType(
    {
        "if_then_else": Expressions._if_then_else,
        "likely": Expressions._likely,
        "isnan": Expressions._not_a_number,
        "reinterpret": Expressions._bits,
        "address_of": Expressions._address,
        "bitwise_not": Expressions._inverted,
        "call_extern": Expressions._external,
        "call_pure_extern": Expressions._external,
        "call_llvm_intrin": Expressions._intrinsic,
        "call_llvm_pure_intrin": Expressions._intrinsic,
    }
)


def is_prefetch(node: Node) -> bool:
    """Whether a statement asks for memory ahead, which C cannot."""
    return isinstance(node, tirx.Evaluate) and intrinsic_name(node.value) == _PREFETCH


def _is_narrow(node: Scalar) -> bool:
    dtype = dtype_of(node)
    return dtype != "bool" and not is_float(node) and ELEMENT_BYTES.get(dtype, 8) < 4
