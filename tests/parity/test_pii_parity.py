"""The window scan against full patterns over whole texts, and our reading of numbering plans against phonenumbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phonenumbers
import pyarrow as pa

from curate.context import WorkContext
from curate.kernels.strings import views
from curate.steps.personal_data import REGIONS, PersonalData
from curate.steps.pii_patterns import pii_types, search
from curate.steps.pii_phones import is_international, plan
from curate.steps.pii_search import Find, find, settle
from tests.conftest import read_rows
from tests.reference import pii as naive

ALL = pii_types(REGIONS, False)
BYTES_PER_FILE = 120_000
NAIVE_BYTES_PER_FILE = 60_000


def texts(folder: Path, limit: int) -> list[str]:
    """The longest text field of the rows of every file, up to `limit` characters a file."""
    found = []
    for file in sorted(folder.glob("*.jsonl.*")):
        size = 0
        for row in read_rows(file):
            text = max((v for v in row.values() if isinstance(v, str)), key=len, default="")[:200_000]
            found.append(text)
            size += len(text)
            if size > limit:
                break
    return found


def full_patterns(text: bytes) -> list[Find]:
    """What the patterns find when each looks at the whole text."""
    view = memoryview(text)
    return settle([Find(a, z, k) for k, kind in enumerate(ALL.values()) for a, z in search(kind, view, 0, len(view))])


def test_windows_find_what_full_patterns_find(real_data: Path) -> None:
    documents = texts(real_data / "text", BYTES_PER_FILE) + texts(real_data / "pii", BYTES_PER_FILE)
    data, offsets = views(pa.array(documents, pa.large_string()))
    ours = find(data, offsets, ALL)
    finds = 0
    for number, document in enumerate(documents):
        expected = full_patterns(document.encode())
        assert ours.get(number, []) == expected, document[:200]
        finds += len(expected)
    print(f"{len(documents)} documents, {int(offsets[-1]) / 1e6:.1f} MB, {finds} finds, all equal")
    assert finds > 50


def test_finds_are_those_of_the_naive_twin(real_data: Path) -> None:
    documents = texts(real_data / "text", NAIVE_BYTES_PER_FILE) + texts(real_data / "pii", NAIVE_BYTES_PER_FILE)
    batch = pa.record_batch({"text": pa.array(documents, pa.large_string())})
    types = {name: kind for name, kind in ALL.items() if name in naive.TYPES and name != "ip"}
    spans = PersonalData(mode="annotate", **dict.fromkeys(types, "tag")).bind(WorkContext())(batch).batch.column("pii_spans").to_pylist()  # type: ignore[arg-type]
    for document, here in zip(documents, spans, strict=True):
        assert [(s["start"], s["end"], s["type"]) for s in here] == [f for f in naive.finds(document) if f[2] != "ip"], document[:200]
    print(f"{len(documents)} documents, {sum(map(len, spans))} finds, all equal")
    assert sum(map(len, spans)) > 100


def test_check_digits_are_those_of_stdnum() -> None:
    """Random numbers, valid in their last digit or not, judged by both."""
    from stdnum.be import nn
    from stdnum.br import cnpj, cpf
    from stdnum.de import idnr
    from stdnum.es import dni, nie
    from stdnum.fi import hetu
    from stdnum.fr import nir
    from stdnum.gb import nhs
    from stdnum.ie import pps
    from stdnum.in_ import aadhaar
    from stdnum.nl import bsn
    from stdnum.no import fodselsnummer
    from stdnum.pl import pesel
    from stdnum.pt import nif
    from stdnum.ro import cnp
    from stdnum.se import personnummer
    from stdnum.th import pin
    from stdnum.tr import tckimlik
    from stdnum.za import idnr as za

    from curate.steps import pii_id_checks as ours

    digits = "0123456789"
    table = [
        ("9" * 11, ours.brazilian_cpf, cpf), ("9" * 14, ours.brazilian_cnpj, cnpj), ("9" * 11, ours.german_tax, idnr), ("9" * 8 + "A", ours.spanish_dni, dni),
        ("X" + "9" * 7 + "A", ours.spanish_dni, nie), ("9" * 15, ours.french_nir, nir), ("9" * 10, ours.british_nhs, nhs), ("9" * 7 + "A", ours.irish_pps, pps),
        ("9" * 12, ours.indian_aadhaar, aadhaar), ("9" * 9, ours.dutch_bsn, bsn), ("2" + "9" * 8, ours.portuguese, nif), ("9" * 13, ours.thai, pin),
        ("9" * 11, ours.turkish, tckimlik), ("D" + "9" * 5, ours.polish_pesel, pesel), ("D" + "9" * 5, ours.norwegian, fodselsnummer),
        ("8D" + "9" * 6, ours.romanian, cnp), ("D" + "9" * 4, ours.swedish, personnummer), ("D" + "9" * 7, ours.south_african, za), ("D-" + "9" * 3 + "A", ours.finnish_hetu, hetu),
        ("D" + "9" * 5, ours.belgian, nn),
    ]  # fmt: skip
    rng = np.random.default_rng(9)
    for form, check, peer in table:
        agreed = valid = 0
        for _ in range(3000):
            date = f"{rng.integers(50, 100):02}{rng.integers(1, 13):02}{rng.integers(1, 29):02}"
            dated = date if peer not in (fodselsnummer, hetu) else date[4:] + date[2:4] + date[:2]
            made = "".join(
                digits[rng.integers(10)] if c == "9" else "ABCDEFGHJKLMNPQRSTVWXYZ"[rng.integers(23)] if c == "A" else c
                for c in form.replace("D", dated)
            )
            made = made.replace("8", "1", 1) if peer is cnp else made
            theirs = peer.is_valid(made if peer is not personnummer else f"{made[:6]}-{made[6:]}")
            valid += theirs
            agreed += check(made.replace("-", "")) == theirs
        print(f"{peer.__name__}: {valid} valid of 3000, {agreed} agreed")
        assert agreed >= 2950, (peer.__name__, agreed)


def test_numbering_plans_are_read_as_phonenumbers_reads_them() -> None:
    """Example numbers of every region and kind, and the same with a digit changed, dropped or added."""
    rng = np.random.default_rng(5)
    checked = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in range(11):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            number = phonenumbers.national_significant_number(example)
            at = int(rng.integers(len(number)))
            for changed in (number, number[:at] + str(rng.integers(10)) + number[at + 1 :], number[:at] + number[at + 1 :], number + "5"):
                zeros = len(changed) - len(changed.lstrip("0"))
                parsed = phonenumbers.PhoneNumber(
                    example.country_code, int(changed or "0"), italian_leading_zero=zeros > 0, number_of_leading_zeros=max(zeros, 1)
                )
                assert plan(region).is_valid(changed) == phonenumbers.is_valid_number_for_region(parsed, region), (region, changed)
                digits = f"{example.country_code}{changed}"
                assert is_international(digits) == (naive.valid("+" + digits, None) is not None), digits
                checked += 1
    print(f"{checked} numbers, all equal")
