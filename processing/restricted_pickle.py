"""Read pickles without executing anything of them.

A pickle is a program for a small stack machine, and two of its instructions call what it names. Here the machine is
ours: pickletools takes the instructions apart, `read_pickle` carries out those that make plain values, and a name gives
a function of ours or is refused. A subclass of pickle.Unpickler that only overrides find_class would leave attributes
to BUILD (`__setstate__`, and setattr on whatever lies on the stack, functions included); torch's own reader for
weights_only=True is such a machine too, but it calls torch's functions with the file's numbers, lets references
multiply, and would have to be handed OmegaConf's real classes, which set attributes when they are restored.
"""

import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from mmap import mmap
from typing import IO, Any, cast

MAX_BYTES = 16_000_000  # of one pickle; tensors are beside it. The released checkpoints have less than 0.1 MB.
MAX_OPCODES = 500_000
MAX_DEPTH = 64  # containers in containers
MAX_VALUES = 1_000_000  # when every reference is followed: lists of lists of the same list grow by powers
MAX_KEY = 2**31  # whole numbers that are keys; larger ones can be made to collide

ADVICE = "nothing of it was executed: where it was made, save the state dict alone with torch.save"

# What an opcode that takes no more than its argument pushes.
_VALUES = frozenset(
    [
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
    ]
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_COPIED = (str, bytes, bytearray, list, tuple, dict)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large a pickle may be: bytes, instructions, values when references are followed, values that calls are given.

    Each byte counts where a call is given bytes. The default is for settings and names; files that hold arrays need
    more.
    """

    bytes: int = MAX_BYTES
    opcodes: int = MAX_OPCODES
    values: int = MAX_VALUES
    handed: int = MAX_VALUES


DEFAULT_LIMITS = Limits()


class RefusedPickle(ValueError):
    """A file that is not read; the sentence says what it holds, and that nothing of it was executed."""


class Inert:
    """What stands for an object of a class that is not loaded: its name, what it was made with, and its state."""

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple = ()):
        self.name = name
        self.arguments = arguments
        self.state: Any = None

    def __repr__(self) -> str:
        return f"<stands for {self.name}>"


class Named:
    """What a pickle's name gives: where it comes from, and what is called in its place, if anything."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[..., Any] | None):
        self.name = name
        self.build = build

    def __repr__(self) -> str:
        return f"<the name {self.name}>"


def inert(name: str) -> Callable[..., Inert]:
    """Return a function that makes stand-ins for the class `name`."""
    return lambda *arguments: Inert(name, arguments)


def _ordered_dict(*arguments: Any) -> OrderedDict:
    return OrderedDict(_pairs(arguments))


def _default_dict(*arguments: Any) -> dict:
    return dict(_pairs(arguments[1:]))  # the first is what makes missing values


def _pairs(arguments: tuple) -> list[tuple[Any, Any]]:
    pairs = arguments[0] if arguments else []
    if len(arguments) > 1 or not isinstance(pairs, list):
        raise RefusedPickle("it makes a dictionary of something else than pairs")
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise RefusedPickle("it makes a dictionary of something else than pairs")
        _check_key(pair[0])
    return [(key, value) for key, value in pairs]


def _set(*arguments: Any) -> set:
    if len(arguments) != 1 or not isinstance(arguments[0], list):
        raise RefusedPickle("it makes a set of something else than a list")
    for value in arguments[0]:
        _check_key(value)
    return set(arguments[0])


def _bytes(*arguments: Any) -> bytes:
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        raise RefusedPickle("it writes bytes in a way that Python does not")
    return arguments[0].encode("latin-1")


# Names that any file may use → what is called instead; None: may be named (as a type, say) but not called.
PLAIN: dict[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _default_dict,
    "_codecs.encode": _bytes,  # as protocol 2 writes bytes
    **{f"{module}.set": _set for module in ("builtins", "__builtin__")},
    **{
        f"{module}.{name}": None
        for module in ("builtins", "__builtin__")
        for name in ("dict", "list", "tuple", "str", "unicode", "int", "long", "float", "bool", "bytes")
    },
    **{f"typing.{name}": None for name in ("Any", "Dict", "List", "Tuple", "Optional", "Union")},
}


def read_pickle(
    file: BytesIO | mmap,
    *,
    admitted: Mapping[str, Callable[..., Any] | None] = PLAIN,
    load_persistent: Callable[[Any], Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """Return the value of the pickle at the position of `file`, which is left behind it.

    file: in memory or mapped to it, so that a claimed length is not asked of the system before it is there.
    admitted: "module.name" → the function that is called in its place with the pickle's arguments, or None where a
        name may be mentioned but not called. Any other name is refused.
    load_persistent: what a persistent id stands for; without it they are refused.
    limits: how large it may be.
    Raises RefusedPickle, whose text goes on after "the file … : ", for other names and instructions, keys that are
    neither text nor small whole numbers, references that multiply, deep nesting, and pickles that are broken or large.
    """
    try:
        value = _run(file, admitted, load_persistent, limits)
    except RefusedPickle:
        raise
    except (IndexError, KeyError):
        raise RefusedPickle(f"its pickle is broken: an instruction lacks its operands; {ADVICE}") from None
    except (ValueError, TypeError, OverflowError) as error:  # of pickletools: unknown opcode, cut off, bad text
        raise RefusedPickle(f"its pickle is cut off or broken ({shown(error)}); {ADVICE}") from None
    check_size(value, limits=limits)
    return value


def _run(
    file: BytesIO | mmap,
    admitted: Mapping[str, Callable[..., Any] | None],
    load_persistent: Callable[[Any], Any] | None,
    limits: Limits,
) -> Any:
    start = file.tell()
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under each MARK
    memo: dict[int, Any] = {}
    handed = 0
    argument: Any
    for count, (opcode, argument, position) in enumerate(pickletools.genops(cast(IO[bytes], file))):
        name = opcode.name
        if count >= limits.opcodes or (position or 0) - start > limits.bytes:
            raise RefusedPickle(
                f"its pickle has more than {limits.opcodes:,} instructions or {limits.bytes:,} bytes; {ADVICE}"
            )
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_SET":
            stack.append(set())
        elif name in _TUPLES:
            parts = [stack.pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(parts)))
        elif name in ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS"):
            items, stack = stack, below.pop()
            if name == "TUPLE":
                stack.append(tuple(items))
            else:
                _fill(stack[-1], items, name)
        elif name == "APPEND":
            item = stack.pop()
            _fill(stack[-1], [item], name)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _fill(stack[-1], [key, value], name)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "GLOBAL":
                place = argument.replace(" ", ".", 1)
            else:
                attribute, module = stack.pop(), stack.pop()
                place = (
                    f"{module}.{attribute}" if type(module) is type(attribute) is str else "something without a name"
                )
            if place not in admitted:
                raise RefusedPickle(
                    f"it names {shown(place)}, which is neither a tensor nor a plain value nor a setting; {ADVICE}"
                )
            stack.append(Named(place, admitted[place]))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, target = stack.pop(), stack.pop()
            if not isinstance(target, Named) or target.build is None or not isinstance(arguments, tuple):
                what = target.name if isinstance(target, Named) else f"a {type(target).__name__}"
                raise RefusedPickle(f"it calls {shown(what)}, which is not called here; {ADVICE}")
            # A reference to a long list is short, and each call may copy it.
            handed += sum(len(each) for each in arguments if isinstance(each, _COPIED))
            if handed > limits.handed:
                raise RefusedPickle(f"its calls copy more than {limits.handed:,} values; {ADVICE}")
            stack.append(target.build(*arguments))
        elif name == "BUILD":
            state, target = stack.pop(), stack[-1]
            if isinstance(target, Inert) and target.state is None:
                target.state = state
            elif type(target) is not OrderedDict:  # of which it sets attributes, such as _metadata; nobody needs them
                raise RefusedPickle(f"it sets attributes of a {type(target).__name__}; {ADVICE}")
        elif name == "BINPERSID" and load_persistent is not None:
            stack.append(load_persistent(stack.pop()))
        elif name == "STOP":
            if below or len(stack) != 1:
                raise RefusedPickle(f"its pickle ends with {len(stack)} values instead of one; {ADVICE}")
            return stack[0]
        elif name not in ("PROTO", "FRAME"):
            raise RefusedPickle(f"its pickle has the instruction {name}, which no plain values need; {ADVICE}")
        elif argument > (5 if name == "PROTO" else limits.bytes):
            raise RefusedPickle(f"its pickle has {name} {argument}, which no version of Python writes; {ADVICE}")
    raise AssertionError("pickletools ends with STOP or raises")


def _fill(container: Any, items: list[Any], name: str) -> None:
    """Put items into a list, a dictionary or a set; anything else has methods of its own, and is refused."""
    if name in ("APPEND", "APPENDS") and type(container) is list:
        container += items
    elif name in ("SETITEM", "SETITEMS") and type(container) in (dict, OrderedDict) and len(items) % 2 == 0:
        for key, value in zip(items[::2], items[1::2], strict=True):
            _check_key(key)
            container[key] = value
    elif name == "ADDITEMS" and type(container) is set:
        for item in items:
            _check_key(item)
        container.update(items)
    else:
        raise RefusedPickle(f"its pickle applies {name} to a {type(container).__name__}; {ADVICE}")


def _check_key(key: Any) -> None:
    # Tuples as keys are hashed with all that they refer to, however often; numbers can be chosen so that they collide.
    if not (isinstance(key, str) or (isinstance(key, int) and abs(key) <= MAX_KEY)):
        raise RefusedPickle(
            f"it has a {type(key).__name__} as a key, and only text and small numbers are read; {ADVICE}"
        )


def check_size(value: Any, *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Refuse a value that grows when references are followed, or is nested deeply (RefusedPickle).

    A stand-in is looked into once: OmegaConf's nodes refer to their parents.
    """
    level, seen, count = [value], set(), 0
    for _ in range(MAX_DEPTH):
        deeper = []
        for each in level:
            if isinstance(each, Inert):
                if id(each) in seen:
                    continue
                seen.add(id(each))
                inside: Any = (each.state, each.arguments)
            elif isinstance(each, dict):
                inside = each.values()
            elif isinstance(each, list | tuple):
                inside = each
            else:
                continue
            count += len(inside)
            if count > limits.values:
                raise RefusedPickle(
                    f"it holds more than {limits.values:,} values when its references are followed; {ADVICE}"
                )
            deeper += inside
        if not deeper:
            return
        level = deeper
    raise RefusedPickle(f"its values are nested more than {MAX_DEPTH} deep; {ADVICE}")


def shown(text: Any, *, length: int = 200) -> str:
    """Return what a file calls something, short and in printable characters."""
    text = "".join(character if character.isprintable() else "?" for character in str(text)[: length + 1])
    return text if len(text) <= length else f"{text[:length]}…"
