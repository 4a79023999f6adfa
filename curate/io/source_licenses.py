"""Which licence a licence file grants, by sentences that only its text has; SPDX identifiers.

Told apart are the licences that most public code has; anything else is "other". A file that holds several is named by
all of them, joined by " AND ". This is a reading aid for filters, not legal advice: exceptions, added clauses and
licences named in prose elsewhere are not seen.
"""

from __future__ import annotations

import re

PERMISSIVE = frozenset(
    {"MIT", "MIT-0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "0BSD", "ISC", "Zlib", "BSL-1.0", "Unlicense", "CC0-1.0", "WTFPL", "PSF-2.0",
     "Artistic-2.0", "NCSA", "CC-BY-4.0", "PostgreSQL", "X11", "UPL-1.0", "MulanPSL-2.0", "BlueOak-1.0.0"}
)  # fmt: skip
_FILE = re.compile(r"(?:un)?licen[cs]es?|copying|copyright|notice|legal", re.IGNORECASE)
_FILE_NAME = re.compile(
    r"(?:un)?licen[cs]e(?:[-_. ][\w.-]+)?|[\w.-]+[-_.]licen[cs]e(?:\.\w+)?|copying(?:[-_.][\w.-]+)?|copyright(?:\.\w+)?", re.IGNORECASE
)
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+-]+(?:[ \t]+(?:OR|AND|WITH)[ \t]+[\w.+-]+)*)")
_SPACE = re.compile(r"[\s*#/;>|\"'`]+")

# Text in one line, lower case, without quotes and comment marks; the first match of a group of one family wins.
_FAMILIES: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("AGPL-3.0", "gnu affero general public license version 3"),
        ("LGPL-2.1", "gnu lesser general public license version 2.1"),
        ("LGPL-3.0", "gnu lesser general public license version 3"),
        ("LGPL-2.0", "gnu library general public license version 2"),
        ("GPL-3.0", "gnu general public license version 3"),
        ("GPL-2.0", "gnu general public license version 2"),
    ),
    (("Apache-2.0", "apache license version 2.0"), ("Apache-2.0", "licensed under the apache license, version 2.0"), ("Apache-1.1", "the apache software license, version 1.1")),
    (("MPL-2.0", "mozilla public license version 2.0"), ("MPL-2.0", "mozilla public license, v. 2.0"), ("MPL-1.1", "mozilla public license version 1.1")),
    (("EPL-2.0", "eclipse public license - v 2.0"), ("EPL-1.0", "eclipse public license - v 1.0")),
    (("CC0-1.0", "cc0 1.0 universal"), ("CC-BY-NC-SA-4.0", "attribution-noncommercial-sharealike 4.0"), ("CC-BY-NC-4.0", "attribution-noncommercial 4.0"),
     ("CC-BY-SA-4.0", "attribution-sharealike 4.0"), ("CC-BY-SA-3.0", "attribution-sharealike 3.0"), ("CC-BY-4.0", "attribution 4.0 international")),
    (("Unlicense", "this is free and unencumbered software released into the public domain"),),
    (("BSL-1.0", "boost software license - version 1.0"),),
    (("WTFPL", "do what the fuck you want to public license"),),
    (("PSF-2.0", "python software foundation license version 2"),),
    (("Artistic-2.0", "the artistic license 2.0"),),
    (("EUPL-1.2", "european union public licence v. 1.2"),),
    (("BUSL-1.1", "business source license 1.1"),),
    (("UPL-1.0", "the universal permissive license (upl), version 1.0"),),
    (("MulanPSL-2.0", "mulan permissive software license,version 2"),),
    (("BlueOak-1.0.0", "blue oak model license"),),
    (("NCSA", "university of illinois/ncsa open source license"), ("NCSA", "university of illinois ncsa open source license")),
    (("ISC", "permission to use, copy, modify, and or distribute this software for any purpose with or without fee is hereby granted, provided that"),
     ("ISC", "permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted, provided that"),
     ("0BSD", "permission to use, copy, modify, and or distribute this software for any purpose with or without fee is hereby granted")),
    (("PostgreSQL", "permission to use, copy, modify, and distribute this software and its documentation for any purpose, without fee"),),
    (("Zlib", "this software is provided as-is, without any express or implied warranty. in no event will the authors be held liable"),
     ("Zlib", "this software is provided as-is , without any express or implied warranty. in no event will the authors be held liable")),
)  # fmt: skip
_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy of this software"
_NOTICE = "permission notice"
_NCSA = "ncsa open source license"  # its text repeats the grants of MIT and BSD
_BSD = "redistribution and use in source and binary forms, with or without modification, are permitted"
OTHER = "other"


def is_license_file(name: str) -> bool:
    """Whether a file is a licence by its name (without folders)."""
    return bool(_FILE.match(name) or "licen" in name.lower()) and _FILE_NAME.fullmatch(name) is not None


def license_of(text: str) -> str:
    """SPDX identifiers of the licences in a licence file, joined by " AND "; "other" where none is known, "" for no text."""
    if not text.strip():
        return ""
    flat = _SPACE.sub(" ", text.lower()).replace("\u201c", "").replace("\u201d", "").strip()
    found = [next((spdx for spdx, words in family if words in flat), "") for family in _FAMILIES]
    found += [_mit(flat), _bsd(flat)]
    known = sorted({spdx for spdx in found if spdx})
    return " AND ".join(known) or OTHER


def tag_of(source: str) -> str:
    """The expression of an SPDX-License-Identifier in the first lines of a source file; "" where there is none."""
    found = _TAG.search(source[:4096])
    return " ".join(found[1].split()) if found else ""


def is_permissive(expression: str) -> bool:
    """Whether all licences of an AND, or one of an OR, are permissive."""
    names = re.sub(r"-(?:only|or-later)\b", "", expression)
    return any(all(part.strip() in PERMISSIVE for part in choice.split(" AND ")) for choice in names.split(" OR ")) if expression else False


def _mit(flat: str) -> str:
    if _MIT not in flat or _NCSA in flat:
        return ""
    return "MIT" if _NOTICE in flat else "MIT-0"


def _bsd(flat: str) -> str:
    if _BSD not in flat or _NCSA in flat:
        return ""
    if "all advertising materials mentioning features" in flat:
        return "BSD-4-Clause"
    return (
        "BSD-3-Clause" if re.search(r"(?:neither the names? of|the names? of .{0,80}may not be used to endorse)", flat) else "BSD-2-Clause"
    )
