"""A pickle's plain values, read without running anything and within the memory of the file.

Python's own reader keeps what it has read in a table as long as the highest number that the file
names (six bytes can ask for gigabytes), and hashes whatever stands as a key of a mapping, which for
tuples in tuples may never end. So the opcodes are followed here: what is called becomes a `Record`.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NUMPY_SCALARS = {"f8": "<d", "f4": "<f", "f2": "<e", "i8": "<q", "i4": "<i", "i2": "<h", "b1": "?"}
_NUMPY_SCALAR_NAMES = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_MARK = object()


@dataclass(frozen=True, eq=False)
class Global:
    """A class or function that the pickle names: "module.name"."""

    name: str


@dataclass(eq=False)
class Record:
    """A call in the pickle: of what, with which arguments; and the state that was put into it."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


def read_pickle(pickled: bytes) -> Any:
    """The value of a pickle: plain values, lists, tuples, mappings, `Record` and `Global`.

    Sets become lists. Keys of mappings that are no text, bytes, number or None are dropped, and so
    is what is added to a `Record`.

    Raises:
        ValueError, IndexError, KeyError: No pickle, or one that does what no checkpoint needs.
    """
    reader = _Reader()
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "STOP":
            return reader.stack.pop()
        reader.follow(opcode.name, argument)
    raise ValueError("a pickle without an end")


class _Reader:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.actions: dict[str, Callable[[Any], object]] = {
            **dict.fromkeys(("PROTO", "FRAME"), lambda _: None),
            **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), self.put),
            **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda at: self.push(self.memo[at])),
            **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), self.whole_number),
            **dict.fromkeys(("OBJ", "INST"), self.refuse),
            "MEMOIZE": lambda _: self.put(len(self.memo)),
            "NONE": lambda _: self.push(None),
            "NEWTRUE": lambda _: self.push(True),
            "NEWFALSE": lambda _: self.push(False),
            "MARK": lambda _: self.push(_MARK),
            "POP": lambda _: self.stack.pop(),
            "POP_MARK": lambda _: self.since_mark(),
            "DUP": lambda _: self.push(self.stack[-1]),
            **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda _: self.push([])),
            "EMPTY_DICT": lambda _: self.push({}),
            "EMPTY_TUPLE": lambda _: self.push(()),
            **dict.fromkeys(("LIST", "FROZENSET"), lambda _: self.push(self.since_mark())),
            "TUPLE": lambda _: self.push(tuple(self.since_mark())),
            "DICT": lambda _: self.push(_pairs({}, self.since_mark())),
            "TUPLE1": lambda _: self.push(tuple(self.take(1))),
            "TUPLE2": lambda _: self.push(tuple(self.take(2))),
            "TUPLE3": lambda _: self.push(tuple(self.take(3))),
            "APPEND": lambda _: self.extend(self.take(1)),
            **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda _: self.extend(self.since_mark())),
            "SETITEM": lambda _: self.set_items(self.take(2)),
            "SETITEMS": lambda _: self.set_items(self.since_mark()),
            "GLOBAL": lambda name: self.push(Global(name.replace(" ", ".", 1))),
            "STACK_GLOBAL": lambda _: self.push(Global(".".join(self.take(2)))),
            **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda _: self.call(*self.take(2))),
            "NEWOBJ_EX": lambda _: self.call(*self.take(3)[:2]),
            "BUILD": lambda _: self.put_state(*self.take(1)),
            "BINPERSID": lambda _: None,  # a storage stays the tuple that torch names it by
        }

    def follow(self, name: str, argument: Any) -> None:
        """Does what one opcode says; those of plain values push their argument."""
        action = self.actions.get(name)
        if action is not None:
            action(argument)
        elif isinstance(argument, str | bytes | bytearray | int | float):
            self.push(argument)
        else:
            self.refuse(name)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def put(self, at: int) -> None:
        self.memo[at] = self.stack[-1]

    def take(self, n: int) -> list[Any]:
        """The last n values, off the stack."""
        values = self.stack[-n:]
        if len(values) < n or any(value is _MARK for value in values):
            raise ValueError("a pickle that takes more than it has")
        del self.stack[-n:]
        return values

    def since_mark(self) -> list[Any]:
        """The values since the last mark, off the stack."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def whole_number(self, number: int) -> None:
        if number.bit_length() > 64:
            raise ValueError(f"a number of {number.bit_length():,} bits")
        self.push(number)

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            _pairs(self.stack[-1], values)

    def call(self, function: Any, args: Any) -> None:
        if not isinstance(function, Global) or not isinstance(args, tuple):
            raise ValueError("a pickle that calls what is no function")
        self.push(_call(function.name, args))

    def put_state(self, state: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict has attributes; nothing here has
            self.refuse("BUILD")

    def refuse(self, what: Any) -> None:
        raise ValueError(f"a pickle with {what} in it, as no checkpoint has")


def _pairs(target: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
    """The mapping with keys and values, in turn, put in."""
    pairs = zip(values[::2], values[1::2], strict=True)
    kinds = (str, bytes, int, float, type(None))
    target.update({key: value for key, value in pairs if isinstance(key, kinds)})
    return target


def _call(name: str, args: tuple[Any, ...]) -> Any:
    """What three harmless functions give; a record of any other call."""
    if name == "collections.OrderedDict":
        pairs = args[0] if args else []
        return _pairs({}, [value for pair in pairs for value in pair])
    if name == "_codecs.encode" and isinstance(args[0], str):  # how protocol 2 writes bytes
        return args[0].encode("latin1")
    if name in _NUMPY_SCALAR_NAMES and len(args) == 2 and isinstance(args[0], Record):
        code = args[0].args[0] if args[0].args else None
        if isinstance(code, str) and code in _NUMPY_SCALARS and isinstance(args[1], bytes):
            return struct.unpack(_NUMPY_SCALARS[code], args[1])[0]
    return Record(name, args)
