"""Damage to a file, drawn from a seed: what disks, editors, programs and ill will do to bytes.

`damage` is a pure function of its arguments. Which kinds of damage a file can take, its form says:
a text also gets other numbers, quotes and line ends; a JSON file other values; what lies in a zip,
a gzip or behind a safetensors header is damaged inside, too.
"""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal

Form = Literal["binary", "text", "json", "jsonl", "yaml", "set", "zip", "gzip", "safetensors"]
Damage = Callable[[bytes, Random], bytes]

MAX_RUN = 64
NUMBERS = (
    b"0", b"-1", b"-0", b"1e308", b"1e400", b"-1e308", b"5e-324", b"NaN", b"nan", b"inf",
    b"-Infinity", b"99999999999999999999", b"9223372036854775807", b"-9223372036854775808",
    b"1000000000000", b"4294967296", b"0x10", b"0b_", b"1_000", b"1,5", b"1:30:00",
    "\u0663".encode(), b"1" * 5000, b"0." + b"1" * 500, b"",
)  # fmt: skip
TOKENS = (
    b"[PAD]", b"NA", b"null", b"None", b"\\N", b"", b" ", b'""', b'"', b"=1+1", b"../../x",
    "\u00e9\u4e03\U0001f680".encode(), b"x" * 20_000, b"a b", b"-", b"[bold]x[/]", b"{}", b"%s%n",
)  # fmt: skip
CODES = (
    b"\x1b[2J", b"\x1b]0;x\x07", b"\xc2\x9b31m", b"\xc2\x85", "\u202e".encode(), "\u2066".encode(),
    "\u2028".encode(), "\ufeff".encode(), b"\x00", b"\x08", b"\x7f", b"\xed\xa0\x80", b"\xff",
    b"\xc3", b"\xf8\x88\x80\x80\x80",
)  # fmt: skip
BREAKS = (b"\r", b"\r\n", b"\n\n", b"\x0b", b"\x0c", b"\x1e", "\u2028".encode(), "\u0085".encode())
SEPARATORS = (b"\t", b",", b";", b"|", b"::", b" ", b":", b"\x01")
QUOTES = (b'"', b"'", b'""', b"`", "\u201c".encode())
WORD = bytes(set(range(256)) - set(b"\t,;|:\r\n\"' "))
DEEP = "@deep@"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"),
    float("-inf"), "", "x", "\x1b[2J", "\u202ex", "\ud800", "nan", "1", "x" * 5000, [], {}, [[]],
    [None], {"a": 1}, {"": {}}, [1] * 500, DEEP,
)  # fmt: skip
YAML_VALUES = (
    b"~", b"true", b"[]", b"{}", b"[[]]", b"{a: 1}", b"[1, [2, {a: b}]]", b"&a [*a]", b"*a",
    b"&a {<<: *a}", b"!!binary x", b"!!set {a, b}", b"!!python/object:os.system {}", b"=", b"<<",
    b"2024-13-01", b"2024-01-01", b"2024-01-01 10:00:00", b"0b_", b"0o8", b"1:30", b".nan", b".inf",
    b"-.inf", b'"\\0"', b'"\\ud800"', b'"\\x1b[2J"', b"'", b'"', b"|", b">-", b"- a", b"? a",
    b"[" * 500, b"{a: " * 200, b"[" + b"1," * 300 + b"]", b"x" * 3000, b"[2,inf)", b"None",
    b"1e12", b"1000000000", b"0.999999", b"full", b"cpu", b"cuda:99", b"[8e-1, 1e-1, 1e-1]",
)  # fmt: skip


def damage(data: bytes, form: Form, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one to three kinds of damage.

    Args:
        data: A whole file of the form.
        form: Says what else than bytes can be damaged.
        random: The only source of chance.
        others: Further files, of which parts can be spliced in.
    """
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = _damage_once(data, form, random, others)
    return data


def _damage_once(data: bytes, form: Form, random: Random, others: Sequence[bytes]) -> bytes:
    if others and random.random() < 0.05:
        return _splice(data, random.choice(others), random)
    inside = INSIDE.get(form)
    if inside is not None and random.random() < 0.6:
        try:
            return inside(data, random)
        except Exception:  # damaged by the round before: it has no inside any more
            return random.choice(OF_BYTES)(data, random)
    is_text = form in ("text", "json", "jsonl", "yaml", "set")
    return random.choice(OF_TEXT if is_text and random.random() < 0.7 else OF_BYTES)(data, random)


def _place(data: bytes, random: Random) -> tuple[int, int]:
    """A run of bytes: mostly short, its begin and end."""
    begin = random.randrange(len(data) + 1)
    length = random.choice((1, 2, 4, 8, random.randint(1, MAX_RUN), random.randint(1, 4096)))
    return begin, min(len(data), begin + length)


def _splice(data: bytes, other: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _flip_bits(data: bytes, random: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64)) if data else 0):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _delete(data: bytes, random: Random) -> bytes:
    begin, end = _place(data, random)
    return data[:begin] + data[end:]


def _duplicate(data: bytes, random: Random) -> bytes:
    begin, end = _place(data, random)
    return data[:end] + data[begin:end] * random.choice((1, 1, 2, 50)) + data[end:]


def _insert(data: bytes, random: Random) -> bytes:
    begin, end = _place(data, random)
    return data[:begin] + random.randbytes(end - begin + 1) + data[begin:]


def _overwrite(data: bytes, random: Random) -> bytes:
    begin, end = _place(data, random)
    filling = random.choice((b"\0", b"\xff", b" ", random.randbytes(1)))
    return data[:begin] + filling * (end - begin) + data[end:]


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: random.choice((0, 1, random.randrange(len(data) + 1), len(data) - 1))]


def _put_code(data: bytes, random: Random) -> bytes:
    begin, _ = _place(data, random)
    return data[:begin] + random.choice(CODES) + data[begin:]


def _prefix(data: bytes, random: Random) -> bytes:
    marks = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\n", b"\r", b"#", b"PK\x03\x04", b"\0")
    return random.choice((*marks, b"\x1f\x8b", b"PAR1", b"[", b"{", b"<", b"sep=;\n")) + data


OF_BYTES: tuple[Damage, ...] = (
    _flip_bits, _flip_bits, _flip_bits, _delete, _delete, _duplicate, _insert, _overwrite,
    _truncate, _put_code, _prefix,
)  # fmt: skip


def _replace_word(data: bytes, random: Random, words: Sequence[bytes], letters: bytes) -> bytes:
    """One run of such letters replaced, or one of none of them put in."""
    first, _ = _place(data, random)
    while first < len(data) and data[first] not in letters:
        first += 1
    while first and data[first - 1] in letters:
        first -= 1
    last = first
    while last < len(data) and data[last] in letters:
        last += 1
    return data[:first] + random.choice(words) + data[last:]


def _other_number(data: bytes, random: Random) -> bytes:
    return _replace_word(data, random, NUMBERS, b"0123456789.-")


def _other_token(data: bytes, random: Random) -> bytes:
    return _replace_word(data, random, TOKENS, WORD)


def _swap(data: bytes, random: Random, old: Sequence[bytes], new: Sequence[bytes]) -> bytes:
    """One text by another: once, or wherever it stands."""
    found = [text for text in old if text in data]
    if not found:
        return data
    text, other = random.choice(found), random.choice(new)
    if random.random() < 0.3:
        return data.replace(text, other)
    at = data.find(text, random.randrange(len(data)))
    return data if at < 0 else data[:at] + other + data[at + len(text) :]


def _other_break(data: bytes, random: Random) -> bytes:
    return _swap(data, random, (b"\n",), BREAKS)


def _other_separator(data: bytes, random: Random) -> bytes:
    return _swap(data, random, SEPARATORS, SEPARATORS)


def _other_quote(data: bytes, random: Random) -> bytes:
    if random.random() < 0.5:
        begin, _ = _place(data, random)
        return data[:begin] + random.choice(QUOTES) + data[begin:]
    return _swap(data, random, QUOTES, (*QUOTES, b""))


def _lines(data: bytes, random: Random) -> bytes:
    """A line left out, doubled, moved to the front, emptied, or all but a few left out."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines.insert(0, lines.pop(at))
        case 3:
            lines[at] = random.choice((b"", b" ", b"\t\t\t\t", b",,,,,,", b"#"))
        case 4:
            lines = lines[: random.randint(0, 3)]
        case 5:
            del lines[0]
    return b"\n".join(lines)


OF_TEXT: tuple[Damage, ...] = (
    _other_number, _other_number, _other_token, _other_break, _other_separator, _other_quote,
    _lines, _lines, _put_code,
)  # fmt: skip


def _json(data: bytes, random: Random) -> bytes:
    value = _other_value(json.loads(data), random)
    text = json.dumps(value, ensure_ascii=random.random() < 0.8)
    deep = random.choice(("[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000))
    return text.replace(f'"{DEEP}"', deep).encode("utf-8", "surrogatepass")


def _other_value(value: Any, random: Random) -> Any:
    """The value with one part replaced, left out, renamed or doubled."""
    parts: list[tuple[Any, Any]] = []

    def collect(holder: Any) -> None:
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            parts.append((holder, key))
            if isinstance(holder[key], dict | list):
                collect(holder[key])

    if isinstance(value, dict | list):
        collect(value)
    if not parts or random.random() < 0.05:
        return random.choice(VALUES)
    holder, key = random.choice(parts)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice(("", "x", f"{key} ", str(key).upper()))] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder.extend([holder[key]] * random.choice((1, 100)))
        case _:
            holder[key] = random.choice(VALUES)
    return value


def _json_line(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    at = random.randrange(max(1, len(lines) - 1))
    lines[at] = _json(lines[at], random)
    return b"\n".join(lines)


def _yaml(data: bytes, random: Random) -> bytes:
    """Another value after some `key:` (or `key=`), or such a key put elsewhere."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    mark = b":" if b":" in lines[at] else b"="
    key, _, _ = lines[at].partition(mark)
    value = random.choice((*YAML_VALUES, *NUMBERS))
    lines[at] = key + mark + (b" " if mark == b":" else b"") + value
    if random.random() < 0.1:
        lines[at] = random.choice((b"  ", b"- ", b"? ", b"&a ", b"!!x ", b"%")) + lines[at]
    return b"\n".join(lines)


def _zip_member(data: bytes, random: Random) -> bytes:
    """A member of the archive damaged, left out, renamed, doubled or packed by another method."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        members = [(info, old.read(info)) for info in old.infolist()]
        at = random.randrange(len(members))
        info, content = members[at]
        match random.randrange(8):
            case 0:
                del members[at]
            case 1:
                info.filename = random.choice(("x", "", "../x", f"{info.filename}/", "a/" * 50))
            case 2:
                members.append((info, content))
            case 3:
                info.compress_type = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            case _:
                form: Form = "binary" if b"\0" in content[:200] else "text"
                members[at] = info, damage(content, form, random)
        for kept, content in members:
            new.writestr(kept, content)
    return made.getvalue()


def _inside_gzip(data: bytes, random: Random) -> bytes:
    return gzip.compress(damage(gzip.decompress(data), "text", random), mtime=0)


def _safetensors_header(data: bytes, random: Random) -> bytes:
    """The header (JSON, its length before it) damaged; in half of them the meta text inside it."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    meta = header.get("__metadata__")
    if isinstance(meta, dict) and "meta" in meta and random.random() < 0.5:
        meta["meta"] = _json(meta["meta"].encode(), random).decode("utf-8", "replace")
        text = json.dumps(header).encode()
    else:
        text = _json(json.dumps(header).encode(), random)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


INSIDE: dict[Form, Damage] = {
    "json": _json,
    "jsonl": _json_line,
    "yaml": _yaml,
    "set": _yaml,
    "zip": _zip_member,
    "gzip": _inside_gzip,
    "safetensors": _safetensors_header,
}
