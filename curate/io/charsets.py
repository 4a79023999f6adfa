"""From the bytes of a web page to text: which charset, in the order that loses least.

1. a byte order mark; 2. a 7-bit or UTF-16 charset that is declared and fits (such text is also valid UTF-8, so it comes
before); 3. UTF-8 where all bytes are valid; 4. the charset of the HTTP header; 5. of a `<meta>` in the first 1024 bytes
(HTML standard, section 13.2.3.2); 6. Resiliparse's detector, where it is installed; 7. windows-1252. A declared charset
that leaves more than one byte in a hundred undecodable is not believed. What can't be decoded becomes U+FFFD.

Labels mean what browsers take them for (WHATWG Encoding): `iso-8859-1` and `ascii` are windows-1252, `gb2312` is
gb18030, `shift_jis` is cp932, `ks_c_5601-1987` is cp949, `big5` is big5-hkscs.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from curate.io.fields import valid_utf8

META_BYTES = 1024
_META = re.compile(rb"<meta[^>]{0,400}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MEANT = {
    "iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
    "big5": "big5hkscs", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874", "ks_c-5601-1987": "cp949",
}  # fmt: skip
_SEVEN_BIT = {"iso2022_jp": b"\x1b", "iso2022_jp_2": b"\x1b", "iso2022_kr": b"\x0e", "hz": b"~{"}
_REFUSED = frozenset({"utf-7"})  # browsers refuse it, and most text is valid UTF-7
_LOST = 0.01  # share of undecodable bytes above which a declared charset is not believed


class Decoded(NamedTuple):
    """Text of a page as UTF-8, the Python name of its charset, and how many replacement characters decoding put in."""

    text: bytes
    charset: str
    replaced: int


def codec(label: str | None) -> str | None:
    """Python's name of the charset that browsers take a label for; None for one that is unknown or not for text."""
    if not label:
        return None
    try:
        info = codecs.lookup(label.strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    name = _MEANT.get(info.name, info.name)
    return name if getattr(info, "_is_text_encoding", True) and name not in _REFUSED else None


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Turn the bytes of a page into UTF-8. declared: the charset of its HTTP header."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            return _lossy(data[len(bom) :], name)
    http = codec(declared)
    if (http in _SEVEN_BIT and _SEVEN_BIT[http] in data) or (http or "").startswith(("utf-16", "utf-32")):
        made = _lossy(data, str(http))
        if made.replaced <= _LOST * len(made.text):
            return made
    if data.isascii():
        meta = codec(_in_page(data))
        if meta in _SEVEN_BIT and _SEVEN_BIT[meta] in data:
            return _lossy(data, meta)
    elif not valid_utf8(data):
        return _not_utf8(data, http)
    return Decoded(data, "utf-8", 0)


def _not_utf8(data: bytes, http: str | None) -> Decoded:
    """The first believable charset of header, page and detector."""
    tried = set()
    for name in (http, codec(_in_page(data))):
        if name and name not in tried and not name.startswith(("utf-16", "utf-32")):
            tried.add(name)
            made = _lossy(data, name)
            if made.replaced <= _LOST * len(made.text):
                return made
    made = _lossy(data, codec(_detected(data)) or "cp1252")
    return made if made.replaced <= _LOST * len(made.text) else _lossy(data, "cp1252")


def _in_page(data: bytes) -> str | None:
    head = data[:META_BYTES]
    found = _META.search(head) or _XML.search(head)
    return found[1].decode("ascii", "replace") if found else None


def _detected(data: bytes) -> str | None:
    from resiliparse.parse.encoding import detect_encoding

    name: str | None = detect_encoding(data)
    return name


def _lossy(data: bytes, name: str) -> Decoded:
    text = data.decode(name, "replace")
    return Decoded(text.encode("utf-8", "replace"), name, text.count("\ufffd"))
