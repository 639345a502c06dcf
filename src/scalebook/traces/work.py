"""Arithmetic and memory traffic of one operator, from the shapes of its arguments.

Traffic is the least there is: every input read once, every output written once. A
multiplication and an addition are two operations. What is not known is None, never a guess.
"""

import ast
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from scalebook.study.document import beside
from scalebook.traces.trace import Shape

Dims = list[Any]
#: Operations, and bytes of least traffic.
Amount = tuple[float, float]

_DATA = beside(__file__)
_SIZES: dict[str, int] = {
    name: size for kind in _DATA["sizes"].values() for name, size in kind.items()
}
#: What a type holds, and how much of it: of two types the greater is that of the result.
_GREATNESS = {
    name: (place, size)
    for place, kind in enumerate(_DATA["sizes"].values())
    for name, size in kind.items()
}
_READ = {name: count for count, names in _DATA["read"].items() for name in names.split()}
_CAUSAL: dict[str, int] = _DATA["causal"]
_PRECISIONS = {"half": "fp16", "bfloat16": "bf16", "double": "fp64"} | {
    name: "fp8" for name in _SIZES if name.startswith("float8_")
}


class Work(NamedTuple):
    """What one call does.

    Attributes
    ----------
    kind : str
        Calls of one kind within each other are one call.
    flops, bytes : float
        Operations, and least traffic.
    precision : str
        fp32, fp16, bf16, fp8 or fp64.
    """

    kind: str
    flops: float
    bytes: float
    precision: str


class _Call(NamedTuple):
    """A call: its name without the mark of an in-place one; sizes, types and values as text."""

    name: str
    in_place: bool
    dims: Dims
    types: list[str]
    values: list[Any]

    def size(self, index: int) -> int:
        """Bytes of an element of an argument."""
        if self.types[index] not in _SIZES:
            raise _Unknown
        return _SIZES[self.types[index]]

    def count(self, index: int) -> int:
        """Elements of an argument; of a list of tensors those of all."""
        return elements(self.dims[index]) if index < len(self.dims) else 0

    def moved(self, *indices: int) -> int:
        """Bytes of some arguments."""
        return sum(count * self.size(index) for index in indices if (count := self.count(index)))

    def all_moved(self) -> int:
        """Bytes of all tensors among the arguments."""
        return self.moved(*range(len(self.dims)))

    def value(self, index: int) -> Any:
        """Number or list given as an argument; None where it was not recorded."""
        if index >= len(self.values) or not isinstance(self.values[index], str):
            return None
        try:
            return ast.literal_eval(self.values[index][:200])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None


def of(name: str, shape: Shape) -> Work | None:
    """Work of an operator; None where its formula or its shapes are not known."""
    plain = name.removeprefix("aten::").rstrip("_")
    formula = _FORMULAS.get(plain)
    dims, types, values = shape
    if formula is None or not dims or not name.startswith("aten::"):
        return None
    short = [str(dtype).rpartition("::")[2].lower() for dtype in types]
    short += ["float"] * (len(dims) - len(short))
    call = _Call(plain, name.endswith("_"), dims, short, values)
    try:
        flops, moved = formula[1](call)
    except (_Unknown, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not (0 <= flops < 1e18 and 0 < moved < 1e15):
        return None
    tensors = [dtype for dtype, what in zip(short, dims) if elements(what)]
    precision = _PRECISIONS.get(tensors[0], "fp32") if tensors else "fp32"
    return Work(formula[0], float(flops), float(moved), precision)


class _Unknown(Exception):
    """The shapes do not say what is done."""


def size_of(dtype: Any) -> int | None:
    """Bytes of an element, by the name a trace gives its type; None where it is not known."""
    return _SIZES.get(str(dtype).rpartition("::")[2].lower())


def elements(dims: Any) -> int:
    """Elements of a tensor, or of a list of tensors, by dimensions; 0 for what is none."""
    if not isinstance(dims, list) or not dims:
        return 0
    if isinstance(dims[0], list):
        return sum(map(elements, dims))
    return math.prod(dims) if all(type(size) is int and size >= 0 for size in dims) else 0


def _convolution(call: _Call, first: int, groups: int, transposed: int | None) -> Amount:
    """``(input, weight, bias, stride, padding, dilation, …)`` with strides from `first` on."""
    data, weight = call.dims[0], call.dims[1]
    stride, padding, dilation = (call.value(first + offset) for offset in range(3))
    if stride is None or padding is None or dilation is None or call.value(groups) is None:
        raise _Unknown
    kernel, space = weight[2:], data[2:]
    if len(kernel) != len(space) or not kernel:
        raise _Unknown
    stride, padding, dilation = (
        list(value) * len(kernel) if len(value) == 1 else list(value)
        for value in (stride, padding, dilation)
    )
    if transposed is not None and call.value(transposed):
        flops = 2 * math.prod(data) * math.prod(weight[1:])
        channels = weight[1] * call.value(groups)
        out = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, k, s, p, d in zip(space, kernel, stride, padding, dilation)
        ]
    else:
        out = [
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, k, s, p, d in zip(space, kernel, stride, padding, dilation)
        ]
        channels = weight[0]
        flops = 2 * data[0] * math.prod(out) * math.prod(weight)
    written = data[0] * channels * math.prod(out) * call.size(0)
    return flops, call.moved(0, 1, 2) + written


def _convolution_backward(call: _Call) -> Amount:
    """``(grad_output, input, weight, …, output_mask)``: a product for each gradient wanted."""
    gradient, data, weight = call.dims[0], call.dims[1], call.dims[2]
    wanted = call.value(10)
    for_input, for_weight = (wanted[0], wanted[1]) if wanted else (True, True)
    reach = data if call.value(7) else gradient
    # Each product pairs every element of one with all weights that meet it.
    product_flops = 2 * math.prod(reach) * math.prod(weight) // (weight[0] or 1)
    products = int(for_input) + int(for_weight)
    if not products:
        raise _Unknown
    return product_flops * products, call.moved(0) + call.moved(1, 2) * products


def _product(call: _Call, left: int, right: int, bias: int | None) -> Amount:
    a, b = call.dims[left], call.dims[right]
    if len(a) != len(b) or len(a) not in (2, 3) or a[-1] != b[-2]:
        raise _Unknown
    out = math.prod(a[:-1]) * b[-1]
    read = call.moved(left, right) + (call.moved(bias) if bias is not None else 0)
    return 2 * out * a[-1], read + out * call.size(left)


def _linear(call: _Call) -> Amount:
    data, weight = call.dims[0], call.dims[1]
    if not data or len(weight) != 2 or data[-1] != weight[1]:
        raise _Unknown
    out = math.prod(data[:-1]) * weight[0]
    return 2 * out * data[-1], call.all_moved() + out * call.size(0)


def _attention(call: _Call, first: int, forward: bool) -> Amount:
    """``(…, query, key, value, …)`` of shapes (batch, heads, elements, width)."""
    query, key, value = call.dims[first : first + 3]
    if not len(query) == len(key) == len(value) == 4 or query[3] != key[3] or key[2] != value[2]:
        raise _Unknown
    rows, columns = query[2], key[2]
    pairs = rows * columns
    if call.value(_CAUSAL[call.name]) is True:
        whole = min(rows, columns)
        pairs = whole * (whole + 1) // 2 + (rows - whole) * columns
    heads, wide, out = query[0] * query[1], query[3], value[3]
    written = heads * rows * out * call.size(first)
    if forward:
        return 2 * heads * pairs * (wide + out), call.moved(first, first + 1, first + 2) + written
    # The scores once more, then a product each for them and the three gradients; outputs and their
    # gradient are read, too.
    read = call.moved(first, first + 1, first + 2)
    return 2 * heads * pairs * (3 * wide + 2 * out), 2 * read + 2 * written


def _elementwise(call: _Call) -> Amount:
    tensors = [index for index in range(len(call.dims)) if call.count(index)]
    read = [index for index in tensors if index < _READ[call.name]]
    count = _broadcast([call.dims[index] for index in read])
    given = [index for index in tensors if index not in read]
    if given or call.in_place:
        written = call.moved(*(given or [0]))
    elif call.name in _DATA["truths"].split():
        written = count
    else:
        written = count * _promoted([call.types[index] for index in read])
    return count, call.moved(*read) + written


def _broadcast(dims: list[Dims]) -> int:
    """Elements of the tensor that tensors of these dimensions are broadcast to."""
    reversed_ = [shape[::-1] for shape in dims]
    return math.prod(map(max, itertools.zip_longest(*reversed_, fillvalue=1)))


def _promoted(types: list[str]) -> int:
    """Bytes of an element of the type that these types are promoted to."""
    if any(dtype not in _GREATNESS for dtype in types):
        raise _Unknown
    halves = {"half", "bfloat16"} <= set(types)
    size: int = max(_GREATNESS[dtype] for dtype in types)[1]
    return max(size, _SIZES["float"]) if halves else size


def _copy(call: _Call) -> Amount:
    return 0, call.moved(0, 1)


def _pass(flops: float, passes: float, *read: int) -> Callable[[_Call], Amount]:
    """Formula of an operator that does `flops` an element and writes `passes` times as many."""

    def formula(call: _Call) -> Amount:
        count = call.count(0)
        return flops * count, call.moved(*(read or (0,))) + passes * count * call.size(0)

    return formula


def _pool(call: _Call) -> Amount:
    window, stride = call.value(1), call.value(2)
    if not window:
        raise _Unknown
    shrunk = call.count(0) / math.prod(stride or window)
    return shrunk * math.prod(window), call.moved(0) + shrunk * call.size(0)


def _pool_backward(call: _Call) -> Amount:
    # (grad_output, input, …): the gradient of the input is written, the input itself not read.
    return call.count(1), call.moved(0) + call.moved(1)


def _foreach(call: _Call) -> Amount:
    return call.count(0), call.all_moved() + call.moved(0)


def _fused(call: _Call) -> Amount:
    # (parameters, gradients, states, …): all are read, all but the gradients written.
    return 4 * call.count(0), 2 * call.all_moved() - call.moved(1)


_BY_FORMULA: dict[str, Callable[[_Call], Amount]] = {
    "direct convolution": lambda call: _convolution(call, 3, 6, None),
    "convolution": lambda call: _convolution(call, 3, 8, 6),
    "backward convolution": _convolution_backward,
    "product": lambda call: _product(call, 0, 1, None),
    "product and sum": lambda call: _product(call, 1, 2, 0),
    "linear": _linear,
    "attention": lambda call: _attention(call, 0, True),
    "backward attention": lambda call: _attention(call, 1, False),
    "normalise": _pass(5, 1),
    "backward normalise": _pass(8, 1, 0, 1),
    "elementwise": _elementwise,
    "copy": _copy,
    "sum": _pass(1, 0),
    "softmax": _pass(5, 1),
    "backward softmax": _pass(3, 1, 0, 1),
    "pool": _pool,
    "backward pool": _pool_backward,
    "foreach": _foreach,
    "fused": _fused,
}
_FORMULAS = {
    name: (kind, _BY_FORMULA[formula])
    for kind, formulas in _DATA["operators"].items()
    for formula, names in formulas.items()
    for name in names.split()
}
