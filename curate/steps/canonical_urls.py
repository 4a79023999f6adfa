"""One form for addresses of the same page: what `dedup_exact: {by: url}` compares.

Of an http or https URL:

    scheme            left out: http and https are the same page
    host              lower case, without the dot at its end; user and password left out
    port              left out where it is the default one (80, 443)
    path              `.` and `..` resolved (RFC 3986, 5.2.4), percent codes in capitals, those of letters, digits and `-._~` decoded;
                      one slash at the end left out
    query             parameters in order of name and value, without those that only follow a visitor (TRACKING)
    fragment          left out, but `#!...`, which names a page

Other strings, other schemes among them, are compared as they stand, without white space at either end. `www.`, session numbers
and the order of path segments are left alone: sites exist where they matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Parameters that analytics, newsletters and advertisements add; the page is the same without them.
TRACKING = frozenset(
    [
        "fbclid",
        "gclid",
        "gclsrc",
        "dclid",
        "gbraid",
        "wbraid",
        "msclkid",
        "yclid",
        "ysclid",
        "twclid",
        "ttclid",
        "igshid",
        "igsh",
        "li_fat_id",
        "mc_cid",
        "mc_eid",
        "mkt_tok",
        "_ga",
        "_gl",
        "_hsenc",
        "_hsmi",
        "__hssc",
        "__hstc",
        "__hsfp",
        "hsctatracking",
        "oly_anon_id",
        "oly_enc_id",
        "vero_id",
        "vero_conv",
        "wickedid",
        "rb_clickid",
        "s_cid",
        "epik",
        "srsltid",
        "spm",
        "scm",
        "ref_src",
        "ref_url",
    ]
)
_PREFIXES = ("utm_", "pk_", "mtm_", "piwik_", "matomo_", "hsa_", "itm_")

_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?\Z", re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r":(\d*)\Z")
_CODE = re.compile(r"%([0-9a-fA-F]{2})")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def canonical_url(url: str) -> str:
    """Return the canonical form; a string that is no http or https URL without white space at its ends."""
    url = url.strip()
    parts = _URL.match(url)
    if parts is None or not parts[2].rpartition("@")[2]:
        return url
    host = parts[2].rpartition("@")[2].lower()
    port = _PORT.search(host)
    if port:
        number = port[1].lstrip("0")
        host = host[: port.start()].rstrip(".") + (f":{number}" if number and number != _DEFAULT_PORTS[parts[1].lower()] else "")
    path = _path(_codes(parts[3]))
    fragment = parts[5] if parts[5] and parts[5].startswith("#!") else ""
    return f"//{host.rstrip('.')}{path}{_query(parts[4] or '')}{fragment}"


def canonical_urls(urls: Iterable[str | None]) -> list[str | None]:
    """Return the canonical form of each; null stays null. About 130,000 a second."""
    return [None if url is None else canonical_url(url) for url in urls]


def _path(path: str) -> str:
    if "/." in path:
        done: list[str] = []
        for segment in path.split("/")[1:]:
            if segment == "..":
                del done[-1:]
            elif segment != ".":
                done.append(segment)
        path = "/" + "/".join(done) if done else ""
    return path.removesuffix("/")


def _query(query: str) -> str:
    kept = [p for p in query[1:].split("&") if p and not _follows(p.partition("=")[0].lower())]
    return "?" + "&".join(sorted(map(_codes, kept))) if kept else ""


def _follows(name: str) -> bool:
    return name in TRACKING or name.startswith(_PREFIXES)


def _codes(text: str) -> str:
    return _CODE.sub(_code, text) if "%" in text else text


def _code(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in _PLAIN else found[0].upper()
