"""Lines of JSON to text, places of wanted fields, and the other fields as compact JSON, in one pass.

The kernel takes only rows about which it has no doubt; any other row gets status REFUSED and is read again by the slow,
exact path in curate/io/jsonl.py. It must never take a row that `json.loads` refuses or reads differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int64, types, uint8, uint64

from curate.kernels.compiled import kernel, ro, rw

TAKEN = 0
REFUSED = 1
BLANK = 2
MAX_KEYS = 64  # rows with more keys are refused (the check for repeated keys is quadratic)
MAX_DEPTH = 60  # the kinds of the open brackets are bits of one word

ESCAPES = np.zeros(256, np.uint8)  # what the byte after a backslash stands for; 0: not allowed
for _name, _value in zip(b'"\\/bfnrtu', b'"\\/\b\f\n\r\tu', strict=True):
    ESCAPES[_name] = _value

_PAIR = types.UniTuple(int64, 2)  # type: ignore[no-untyped-call]


@kernel(int64(ro(uint8), int64, int64))
def _hex4(data: Any, at: Any, end: Any) -> Any:
    """Value of four hexadecimal digits, or -1."""
    if at + 4 > end:
        return -1
    value = 0
    for i in range(at, at + 4):
        c = int64(data[i])
        if 48 <= c <= 57:
            c -= 48
        elif 97 <= (c | 32) <= 102:
            c = (c | 32) - 87
        else:
            return -1
        value = value * 16 + c
    return value


@kernel(_PAIR(ro(uint8), int64, int64, rw(uint8), int64))
def _copy_string(data: Any, at: Any, end: Any, out: Any, o: Any) -> Any:
    """Copy a string as it is written, from its opening quote on. Returns (place after it, end of out), (-1, _) if refused."""
    out[o] = 34
    o += 1
    i = at + 1
    while i < end:
        c = data[i]
        out[o] = c
        o += 1
        i += 1
        if c == 34:
            return i, o
        if c < 32:
            return -1, o
        if c == 92:
            if i >= end:
                return -1, o
            c = data[i]
            if ESCAPES[c] == 0 or (c == 117 and _hex4(data, i + 1, end) < 0):
                return -1, o
            out[o] = c
            o += 1
            i += 1
    return -1, o


@kernel(_PAIR(ro(uint8), int64, int64, rw(uint8), int64))
def _decode_string(data: Any, at: Any, end: Any, out: Any, o: Any) -> Any:
    """Write the UTF-8 that a string stands for. Same result as _copy_string; lone surrogates are refused."""
    i = at + 1
    while i < end:
        c = data[i]
        i += 1
        if c == 34:
            return i, o
        if c < 32:
            return -1, o
        if c != 92:
            out[o] = c
            o += 1
            continue
        if i >= end:
            return -1, o
        c = data[i]
        i += 1
        if c == 117:
            u = _hex4(data, i, end)
            i += 4
            if u < 0 or 0xDC00 <= u < 0xE000:
                return -1, o
            if 0xD800 <= u < 0xDC00:
                if i + 6 > end or data[i] != 92 or data[i + 1] != 117:
                    return -1, o
                low = _hex4(data, i + 2, end)
                if low < 0xDC00 or low >= 0xE000:
                    return -1, o
                i += 6
                u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00)
                out[o] = 0xF0 | (u >> 18)
                out[o + 1] = 0x80 | ((u >> 12) & 63)
                out[o + 2] = 0x80 | ((u >> 6) & 63)
                out[o + 3] = 0x80 | (u & 63)
                o += 3
            elif u >= 0x800:
                out[o] = 0xE0 | (u >> 12)
                out[o + 1] = 0x80 | ((u >> 6) & 63)
                out[o + 2] = 0x80 | (u & 63)
                o += 2
            elif u >= 0x80:
                out[o] = 0xC0 | (u >> 6)
                out[o + 1] = 0x80 | (u & 63)
                o += 1
            else:
                out[o] = u
        elif ESCAPES[c] == 0:
            return -1, o
        else:
            out[o] = ESCAPES[c]
        o += 1
    return -1, o


@kernel(int64(ro(uint8), int64, int64))
def _scalar(data: Any, at: Any, end: Any) -> Any:
    """Place after a number, true, false or null; -1 for anything else."""
    c = data[at]
    if c == 116 and at + 4 <= end:
        return at + 4 if data[at + 1] == 114 and data[at + 2] == 117 and data[at + 3] == 101 else -1
    if c == 110 and at + 4 <= end:
        return at + 4 if data[at + 1] == 117 and data[at + 2] == 108 and data[at + 3] == 108 else -1
    if c == 102 and at + 5 <= end:
        return at + 5 if data[at + 1] == 97 and data[at + 2] == 108 and data[at + 3] == 115 and data[at + 4] == 101 else -1
    i = at
    if c == 45:
        i += 1
    if i >= end or data[i] < 48 or data[i] > 57:
        return -1
    if data[i] == 48:
        i += 1
    else:
        while i < end and 48 <= data[i] <= 57:
            i += 1
    if i < end and data[i] == 46:
        i += 1
        first = i
        while i < end and 48 <= data[i] <= 57:
            i += 1
        if i == first:
            return -1
    if i < end and (data[i] | 32) == 101:
        i += 1
        if i < end and (data[i] == 43 or data[i] == 45):
            i += 1
        first = i
        while i < end and 48 <= data[i] <= 57:
            i += 1
        if i == first:
            return -1
    return i


@kernel(int64(ro(uint8), int64, int64))
def _space(data: Any, at: Any, end: Any) -> Any:
    """Place of the first byte that is not JSON white space."""
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@kernel(boolean(ro(uint8), int64, ro(uint8), int64, int64))
def _same(data: Any, at: Any, other: Any, other_at: Any, size: Any) -> Any:
    """Whether two runs of bytes are equal."""
    for i in range(size):  # noqa: SIM110  kernels have no generators
        if data[at + i] != other[other_at + i]:
            return False
    return True


@kernel(_PAIR(ro(uint8), int64, int64, rw(uint8), int64))
def _copy_value(data: Any, at: Any, end: Any, out: Any, o: Any) -> Any:
    """Copy any value without the white space between its tokens. Same result as _copy_string."""
    kinds = uint64(0)  # bit 0: the innermost open bracket is an object
    depth = 0
    i = at
    while True:
        # here a value is due
        i = _space(data, i, end)
        if i >= end:
            return -1, o
        c = data[i]
        opened = False
        if c == 34:
            i, o = _copy_string(data, i, end, out, o)
            if i < 0:
                return -1, o
        elif c == 123 or c == 91:
            depth += 1
            if depth > MAX_DEPTH:
                return -1, o
            kinds = (kinds << uint64(1)) | uint64(1 if c == 123 else 0)
            out[o] = c
            o += 1
            i += 1
            opened = True
        else:
            stop = _scalar(data, i, end)
            if stop < 0:
                return -1, o
            while i < stop:
                out[o] = data[i]
                o += 1
                i += 1
        # here a value has ended, or a bracket was opened
        while True:
            if depth == 0:
                return i, o
            i = _space(data, i, end)
            if i >= end:
                return -1, o
            c = data[i]
            is_object = (kinds & uint64(1)) == uint64(1)
            if (is_object and c == 125) or (not is_object and c == 93):
                out[o] = c
                o += 1
                i += 1
                depth -= 1
                kinds = kinds >> uint64(1)
                opened = False
                continue
            if not opened:
                if c != 44:
                    return -1, o
                out[o] = c
                o += 1
                i = _space(data, i + 1, end)
            if is_object:
                if i >= end or data[i] != 34:
                    return -1, o
                i, o = _copy_string(data, i, end, out, o)
                if i < 0:
                    return -1, o
                i = _space(data, i, end)
                if i >= end or data[i] != 58:
                    return -1, o
                out[o] = 58
                o += 1
                i += 1
            break


@kernel(types.void(ro(uint8), ro(int64), ro(uint8), ro(int64), int64, rw(uint8), rw(uint8), rw(int64), rw(uint8), rw(int64), rw(int64)))
def scan_lines(
    data: Any,
    start: Any,
    names: Any,
    name_at: Any,
    keep_meta: Any,
    status: Any,
    text: Any,
    text_at: Any,
    meta: Any,
    meta_at: Any,
    spans: Any,
) -> Any:
    """Take apart n lines, each one JSON object.

    data: u8[nbytes], valid UTF-8 in all lines that are not preset as REFUSED; start: i64[n+1], line i is data[start[i]:start[i+1]]
    names: u8, names of k wanted fields back to back, the text field first; name_at: i64[k+1]
    keep_meta: 0 or 1
    status: u8[n], in: TAKEN, or REFUSED for lines to pass over; out: TAKEN, REFUSED or BLANK (white space alone)
    text: u8[nbytes], text_at: i64[n+1]: the text field decoded; empty where null
    meta: u8[2 * n + nbytes], meta_at: i64[n+1]: an object of the fields that are not wanted, values as written
    spans: i64[n*k*2]: where the value of each wanted field stands in data; -1 where there is none

    A row is refused unless it is strict JSON as `json.loads` takes it, has the text field as string or null, no key twice
    and no escape in a key.
    """
    k = len(name_at) - 1
    key_at = np.empty(MAX_KEYS, np.int64)
    key_size = np.empty(MAX_KEYS, np.int64)
    o = 0
    m = 0
    text_at[0] = 0
    meta_at[0] = 0
    for row in range(len(start) - 1):
        end = start[row + 1]
        o0 = o
        m0 = m
        ok = status[row] == TAKEN
        keys = 0
        if ok:
            for f in range(row * k * 2, (row + 1) * k * 2):
                spans[f] = -1
            i = _space(data, start[row], end)
            if i == end:
                status[row] = BLANK
            ok = i < end and data[i] == 123
            i += 1
            meta[m] = 123
            m += 1
            more = False
            while ok:
                i = _space(data, i, end)
                if i < end and data[i] == 125 and not more:
                    i += 1
                    break
                ok = False
                if i >= end or data[i] != 34 or keys == MAX_KEYS:
                    break
                first = i + 1
                i = first
                while i < end and data[i] != 34 and data[i] != 92 and data[i] >= 32:
                    i += 1
                if i >= end or data[i] != 34:
                    break
                size = i - first
                i = _space(data, i + 1, end)
                if i >= end or data[i] != 58:
                    break
                i = _space(data, i + 1, end)
                if i >= end:
                    break
                repeated = False
                for j in range(keys):
                    if key_size[j] == size:
                        repeated = repeated or _same(data, first, data, key_at[j], size)
                if repeated:
                    break
                key_at[keys] = first
                key_size[keys] = size
                keys += 1
                field = -1
                for f in range(k):
                    if name_at[f + 1] - name_at[f] == size and _same(data, first, names, name_at[f], size):
                        field = f
                        break
                value = i
                if field == 0:
                    if data[i] == 34:
                        i, o = _decode_string(data, i, end, text, o)
                        if i < 0:
                            break
                    elif data[i] == 110:
                        i = _scalar(data, i, end)
                        if i < 0:
                            break
                    else:
                        break
                elif field > 0 or keep_meta == 0:
                    i, _ = _copy_value(data, i, end, meta, m)
                    if i < 0:
                        break
                else:
                    if m > m0 + 1:
                        meta[m] = 44
                        m += 1
                    for a in range(first - 1, first + size + 1):
                        meta[m] = data[a]
                        m += 1
                    meta[m] = 58
                    i, m = _copy_value(data, i, end, meta, m + 1)
                    if i < 0:
                        break
                if field >= 0:
                    spans[(row * k + field) * 2] = value
                    spans[(row * k + field) * 2 + 1] = i
                i = _space(data, i, end)
                if i >= end:
                    break
                if data[i] == 44:
                    more = True
                    i += 1
                    ok = True
                elif data[i] == 125:
                    i += 1
                    ok = True
                    break
                else:
                    break
            ok = ok and _space(data, i, end) == end and spans[row * k * 2] >= 0
            meta[m] = 125
            m += 1
        if not ok:
            o = o0
            m = m0
            if status[row] == TAKEN:
                status[row] = REFUSED
        text_at[row + 1] = o
        meta_at[row + 1] = m
