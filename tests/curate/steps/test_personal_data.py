"""`pii`: every type and action, the scan against full patterns on hostile text, spans, idempotence."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.kernels.scan import windows
from curate.kernels.scan_tables import KEY
from curate.kernels.strings import views
from curate.steps.personal_data import REGIONS, TYPES, PersonalData
from curate.steps.pii_numbers import luhn, mod97
from curate.steps.pii_patterns import PiiType, pii_types, search
from curate.steps.pii_search import HINTS, TYPE_OF_KIND, Find, find, settle
from curate.steps.pii_secrets import KEY_PREFIXES
from tests.reference import pii as naive

ALL = pii_types(REGIONS, False)
NINE_DIGITS = pii_types(("ES", "PL", "PT", "CZ", "IT"), False)


def table(*texts: str | None) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


def tagged(text: str, **fields: object) -> str:
    return str(run_step(PersonalData(**fields), table(text)).column("text")[0])  # type: ignore[arg-type]


def found(text: str, kind: str) -> list[str]:
    data = text.encode()
    return [data[a:z].decode() for a, z in search(ALL[kind], memoryview(data), 0, len(data))]


FOUND = {
    "email": [
        ("Write to jane.doe+news@mail.example.co.uk.", "jane.doe+news@mail.example.co.uk"),
        ("<o'brien@x.org>", "o'brien@x.org"),
        ("x='a_b@c.de'", "a_b@c.de"),
        ("\u90ae\u7bb1abc@qq.com\u8c22\u8c22", "abc@qq.com"),
        ("\u043f\u043e\u0447\u0442\u0430@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444", "\u043f\u043e\u0447\u0442\u0430@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444"),
        ("j@m\u00fcller.de, ok", "j@m\u00fcller.de"),
        ("a@xn--80ak6aa92e.xn--p1ai", "a@xn--80ak6aa92e.xn--p1ai"),
        ("l" * 64 + "@example.org", "l" * 64 + "@example.org"),
    ],
    "ip": [
        ("from 8.8.8.8.", "8.8.8.8"),
        ("192.168.0.1:8080", "192.168.0.1"),
        ("ping 10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/16", "10.0.0.0"),
        ("saw 44.61.2.3 twice", "44.61.2.3"),
        ("[2001:db8:85a3:0:0:8a2e:370:7334]", "2001:db8:85a3:0:0:8a2e:370:7334"),
        ("at 2606:4700::1111/64", "2606:4700::1111"),
        ("fe80::1%eth0", "fe80::1"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("::ffff:10.1.2.3 x", "::ffff:10.1.2.3"),
    ],
    "phone": [
        ("call 541-754-3010 now", "541-754-3010"),
        ("(541) 754-3010", "(541) 754-3010"),
        ("1-541-754-3010", "1-541-754-3010"),
        ("Tel:5417543010,", "5417543010"),
        ("+44 20 7946 0018", "+44 20 7946 0018"),
        ("+46 (0)8 928 571 38", "+46 (0)8 928 571 38"),
        ("03.93.92.16.85", "03.93.92.16.85"),
        ("01\u00a023\u00a045\u00a067\u00a089", "01\u00a023\u00a045\u00a067\u00a089"),
        ("\u7535\u8bdd13800138000\u3002", "13800138000"),
        ("030 / 123 45 67", "030 / 123 45 67"),
        ("541-754-3010 ext. 12", "541-754-3010 ext. 12"),
        ("98765 43210", "98765 43210"),
        ("phone: 467 3395", "467 3395"),
        ("call 2125550123 now", "2125550123"),
        ("(11) 91234-5678", "(11) 91234-5678"),
    ],
    "card": [
        ("4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("4111-1111-1111-1111.", "4111-1111-1111-1111"),
        ("340376792748116", "340376792748116"),
        ("3782 822463 10005", "3782 822463 10005"),
        ("4222222222222", "4222222222222"),
        ("30569309025904", "30569309025904"),
        ("2221000000000009", "2221000000000009"),
    ],
    "iban": [
        ("DE89370400440532013000", "DE89370400440532013000"),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
        ("NO93 8601 1117 947", "NO93 8601 1117 947"),
        ("GB29-NWBK-6016-1331-9268-19,", "GB29-NWBK-6016-1331-9268-19"),
        ("iban: gb29nwbk60161331926819", "gb29nwbk60161331926819"),
    ],
    "ssn": [("SSN 460-89-9847.", "460-89-9847"), ("460 89 9847", "460 89 9847"), ("123-45-6780 5 Main", "123-45-6780"), ("Social Security no. 937-42-6810", "937-42-6810")],
    "credentials": [
        ("https://joe:s3cr3t-Pw@host/x", "joe:s3cr3t-Pw"),
        ("postgres://app:pa55:w0rd@db:5432", "app:pa55:w0rd"),
        ("redis://:hunter22@cache", ":hunter22"),
    ],
    "national_id": [
        ("ID 11010519491231002X.", "11010519491231002X"),
        ("AB123456C", "AB123456C"),
        ("AB 12 34 56 C", "AB 12 34 56 C"),
        ("DNI 12345678Z", "12345678Z"),
        ("12345678-Z", "12345678-Z"),
        ("X1234567L", "X1234567L"),
        ("RSSMRA85T10A562S", "RSSMRA85T10A562S"),
        ("ABCPE1234F", "ABCPE1234F"),
        ("S1234567D", "S1234567D"),
        ("131052-308T", "131052-308T"),
        ("A123456789", "A123456789"),
    ],
    "key": [
        ("id=AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("sk-proj-abcDEF1234567890ghijKLMN", "sk-proj-abcDEF1234567890ghijKLMN"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "AIzaSyA1234567890abcdefghijklmnopqrstuv"),
        ("xoxb-123456789012-abcdefGHIJKL", "xoxb-123456789012-abcdefGHIJKL"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXRleHQx", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXRleHQx"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzYYzzKEYx", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzYYzzKEYx"),
        ("hvs.CAESIJ2g7GfT5Kq1LmN8pQ3rS", "hvs.CAESIJ2g7GfT5Kq1LmN8pQ3rS"),
        (
            f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow+/' * 9}\n-----END RSA PRIVATE KEY-----\n",
            f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow+/' * 9}\n-----END RSA PRIVATE KEY-----",
        ),
    ],
}  # fmt: skip
NUMBERS = [  # identity numbers in digits
    "529.982.247-25", "11.222.333/0001-81", "720101-1234567"[:0] or "CPF 52998224725", "2 55 08 14 168 025 38", "756.9217.0769.85", "PESEL: 44051401359", "SIN 046 454 286",
    "811218-9876", "2234 5678 9108"[:0] or "BSN 111222333", "NHS number 943 476 5919", "912-70-1234",
]  # fmt: skip
NO_NUMBERS = [
    "529.982.247-24",
    "52998224725",
    "44051401359",
    "046 454 286",
    "811218-9875",
    "110105194912310021",
    "2004 2008 2012",
    "912-49-1234",
]
NOT_FOUND = {
    "credentials": ["https://user:password@host", "http://$USER:$PASS@host", "a://b:***@c", "https://joe@host", "https://host:80/a@b", "http://<u>:<p>@h"],
    "national_id": ["11010519491231002Y", "GB123456A", "12345678A", "XX-AB123456C", "ab123456c", "RSSMRA85T10A562T", "S1234567E"],
    "email": ["logo@2x.png", "a@b", "@user", "l" * 65 + "@example.org", "a@-b.com", "a@b.c", "name at example dot com"],
    "ip": ["v1.2.3.4", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "x[1::2]", "std::a", "1.2.3.4 Scope", "Section 36.1.2.3", "Dig. 46.7.3.9", "Version 91.0.4.122", "xul-1.8.0.4", "12:34:56", "face::bad", "00:1a:2b:3c:4d:5e", "::1"],
    "phone": ["2005-06-07 12", "01.02.2003", "3.1415926535", "0123456789", "1234567890", "541-754-30101", "+1 123 456", "1990-1995-2000",
        "05.02.06.02.01.02", "02.01.04.01.02", "05 03 55 04 06 13", "at 2147483647", "0596158106", "2 220 1330 421 1437", "03   04   05   06   07", "0.61638975", "467 3395", "541 75 430 10", "x5417543010", "1700000000"],
    "card": ["4111 1111 1111 1112", "4111111111111", "9111111111111111", "4111 1111-1111 1111", "x4111111111111111", "411111111111111111111"],
    "iban": ["DE88370400440532013000", "DE8937040044053201300", "ZZ89370400440532013000", "GB29123460161331926819", "DE89 3704 0044 0532 01300 0", "de89370400440532013001"],
    "ssn": ["000-12-3456", "666-12-3456", "900-12-3456", "460-00-9847", "460-89-0000", "460-89 9847", "1460-89-9847", "460-89-98471", "460899847", "123-45-6789", "078 05 1120", "111-11-1111", "987-65-4321", "SSN 987-65-4321"],
    "key": ["AKIAXXXXXXXXXXXXXXXX", "sk-folding-cube-animation-2-delay", "sk-xxxxxxxxxxxxxxxxxxxxxxxx", "task-abcDEF1234567890ghijKLMN", "AKIAIOSFODNN7EXAMPL",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "expected"), [(k, *c) for k, cases in FOUND.items() for c in cases])
def test_finds_exactly(kind: str, text: str, expected: str) -> None:
    assert found(text, kind) == [expected]
    named = {kind: "tag"}
    assert tagged(text, **named) == text.replace(expected, f"<{kind.upper()}>")


@pytest.mark.parametrize(("kind", "text"), [(k, t) for k, texts in NOT_FOUND.items() for t in texts])
def test_leaves_alone(kind: str, text: str) -> None:
    assert found(text, kind) == []
    assert tagged(text, **{kind: "tag"}) == text


@pytest.mark.parametrize("text", NUMBERS)
def test_finds_identity_numbers(text: str) -> None:
    assert len(found(text, "national_number")) == 1
    assert "<NATIONAL_ID>" in tagged(text, national_id="tag")


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_leaves_other_numbers_alone(text: str) -> None:
    assert found(text, "national_number") == []


def test_check_digits() -> None:
    assert luhn(b"79927398713")
    assert not any(luhn(b"7992739871%d" % d) for d in range(10) if d != 3)
    assert mod97(b"GB82WEST12345698765432")
    assert not any(mod97(b"GB%02dWEST12345698765432" % d) for d in range(2, 99) if d != 82)


def test_plain_pii_tags_every_type() -> None:
    text = "a@b.de 8.8.8.8 541-754-3010, 4111111111111111; DE89370400440532013000 460-89-9847 AKIAIOSFODNN7EXAMPLE"
    assert tagged(text) == "<EMAIL> <IP> <PHONE>, <CARD>; <IBAN> <SSN> <KEY>"
    assert tagged(text, ip="tag") == text.replace("8.8.8.8", "<IP>")


def test_public_ips_only() -> None:
    text = "10.0.0.1 127.0.0.1 192.0.2.1 8.8.8.8 fe80::1 2606:4700::1111"
    assert tagged(text, ip="tag", public_ips_only=True) == "10.0.0.1 127.0.0.1 192.0.2.1 <IP> fe80::1 <IP>"
    assert tagged(text, ip="tag") == "<IP> <IP> <IP> <IP> <IP> <IP>"


def test_regions_decide_national_forms() -> None:
    assert tagged("03.93.92.16.85", phone="tag", regions=("US",)) == "03.93.92.16.85"
    assert tagged("+33 3 93 92 16 85", phone="tag", regions=()) == "<PHONE>"
    assert tagged("044 668 18 00", phone="tag", regions=("CH",)) == "<PHONE>"
    written = {"ES": "612 34 56 78", "PT": "912 345 678", "PL": "512 345 678", "CZ": "601 123 456", "IT": "389 698 834"}
    for region, number in written.items():
        assert tagged(f"at {number}.", phone="tag", regions=(region,)) == "at <PHONE>."
        assert tagged(f"at {number}.", phone="tag") == f"at {number}."
        assert tagged(number.replace(" ", ""), phone="tag", regions=(region,)) == number.replace(" ", "")  # no group, no word
    with pytest.raises(ValidationError, match="unknown regions"):
        PersonalData(regions=("XX",))


def test_mask_keeps_shape() -> None:
    assert tagged("m\u00fcl@m\u00fcller.de und 541-754-3010", email="mask", phone="mask") == "***@******.** und ***-***-****"


def test_drop_document_gives_a_verdict_and_leaves_its_text() -> None:
    texts = table("AKIAIOSFODNN7EXAMPLE a@b.de", "a@b.de", None, "", "460-89-9847 and 460-89-9848")
    step = PersonalData(email="tag", key="drop_document", ssn="drop_document")
    assert step.drops() == ("pii.key", "pii.ssn")
    (outcome,) = outcomes(step, texts.to_batches())
    assert outcome.verdict is not None
    assert outcome.verdict.keep.to_pylist() == [False, True, True, True, False]
    assert outcome.verdict.reason.to_pylist() == ["pii.key", None, None, None, "pii.ssn"]
    assert outcome.verdict.value is not None
    assert outcome.verdict.value.to_pylist() == [1.0, None, None, None, 2.0]
    assert outcome.batch.column("text").to_pylist() == [texts.column("text")[0].as_py(), "<EMAIL>", None, "", "460-89-9847 and 460-89-9848"]


def test_annotate_mode_lists_spans_in_code_points() -> None:
    text = "\u4f60\u597d \U0001f600 a@b.de \u00fc 8.8.8.8"
    result = run_step(PersonalData(mode="annotate", key="drop_document", ip="tag", email="tag"), table(text, None, "AKIAIOSFODNN7EXAMPLE"))
    spans = result.column("pii_spans").to_pylist()
    assert [(s["type"], text[s["start"] : s["end"]], s["score"]) for s in spans[0]] == [("email", "a@b.de", 1.0), ("ip", "8.8.8.8", 0.6)]
    assert spans[1] == []
    assert result.column("text").to_pylist() == [text, None, "AKIAIOSFODNN7EXAMPLE"]
    assert result.column("pii_keep").to_pylist() == [True, True, False]
    assert result.column("pii_reason").to_pylist() == [None, None, "pii.key"]
    assert set(PersonalData(mode="annotate").adds()) == {"pii_spans"}
    for name, kind in PersonalData(mode="annotate").adds().items():
        assert run_step(PersonalData(mode="annotate"), table("x")).schema.field(name).type == kind


def test_annotated_type_beside_a_tagged_one_has_offsets_in_the_new_text() -> None:
    result = run_step(PersonalData(email="tag", ip="annotate"), table("a.long.name@example.org at 8.8.8.8", "9.9.9.9"))
    assert result.column("text").to_pylist() == ["<EMAIL> at 8.8.8.8", "9.9.9.9"]
    spans = result.column("pii_spans").to_pylist()
    assert [[(s["start"], s["end"], s["type"]) for s in row] for row in spans] == [[(11, 18, "ip")], [(0, 7, "ip")]]


def test_untouched_batches_are_not_copied() -> None:
    batch = table("nothing here", "12 apples").to_batches()[0]
    (outcome,) = outcomes(PersonalData(), [batch])
    assert outcome.batch.column("text").buffers()[2].address == batch.column("text").buffers()[2].address


def test_overlap_goes_to_the_earlier_type() -> None:
    assert settle([Find(0, 9, 6), Find(4, 6, 1), Find(9, 12, 6)]) == [Find(4, 6, 1), Find(9, 12, 6)]
    assert tagged("DE89 3704 0044 0532 0130 00") == "<IBAN>"
    assert tagged("me@192.168.0.1.example.com") == "<EMAIL>"


PIECES = st.sampled_from(
    ["@", ".", "-", "_", " ", "\n", "+", "(", ")", "/", ":", "::", ",", "a", "Ab", "x@y.com", "com", "\u00e9", "\u00d7", "\u4e2d", "\u3002", "\U0001f600", "\u00a0",
     "\u2013", "0", "1", "12", "541", "754-3010", "+49", "(0)", "030", "8.8.8.8", "fe80", "2001:db8:", "192.168.", "4111", "1111", " 4111 1111 1111 1111",
     "DE89", "DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819", "460-89-9847", "460", "89", "AKIA", "AKIAIOSFODNN7EXAMPLE", "sk-", "ghp_",
     "eyJhbGciOiJI.eyJzdWIiOiI.c2lnbmF0dXJlLXRleHQx", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "MIIEowIBAAKCAQEA" * 3, "IPv6:", "x12", "ext. 3", "\x00",
     "://", "joe:pw1@", "12345678-Z", "AB123456C", "529.982.247-25", "44051401359", "host ", "version ", "phone ", "Dig. ", "36.1.2.3", "467 3395", "hvs.", "aws_secret_access_key="]
)  # fmt: skip
HOSTILE = st.lists(st.one_of(PIECES, st.text(max_size=4), st.integers(0, 10**12).map(str)), max_size=30).map("".join)


def clean(text: str) -> str:
    """Without lone surrogates, which UTF-8 has not."""
    return text.encode("utf-8", "ignore").decode()


@settings(max_examples=400, deadline=None)
@given(st.lists(HOSTILE.map(clean), min_size=1, max_size=4))
def test_windows_find_what_full_patterns_find(texts: list[str]) -> None:
    agree_with_full_patterns(texts)


def agree_with_full_patterns(texts: list[str], types: Mapping[str, PiiType] = ALL) -> None:
    data, offsets = views(pa.array(["skipped a@b.de", *texts], pa.large_string()).slice(1))
    ours = find(data, offsets, types)
    for number, text in enumerate(texts):
        raw = text.encode()
        every = [Find(a, z, k) for k, kind in enumerate(types.values()) for a, z in search(kind, memoryview(raw), 0, len(raw))]
        assert ours.get(number, []) == settle(every)


GROUPS = st.one_of(
    st.integers(0, 99999).map(str),
    st.sampled_from(["0", "00", "030", "0123", "86", "1", "650", "555", "06", "2019", "5550123", "912345678", "612", "345", "678"]),
)
APART = st.sampled_from(
    [" ", " ", "-", "-", ".", "/", "  ", "   ", "(", ")", "+", "\u00a0", "\u2013", ", ", "\n", "x", " tel ", " phone: ", "a", ""]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.tuples(APART, GROUPS).map("".join), max_size=9).map("".join), min_size=1, max_size=8))
def test_windows_find_what_full_patterns_find_in_rows_of_numbers(texts: list[str]) -> None:
    agree_with_full_patterns(texts)
    agree_with_full_patterns(texts, NINE_DIGITS)


def test_every_known_beginning_of_a_key_is_seen() -> None:
    for prefix, _ in KEY_PREFIXES:
        for fill in (0, 1, 63, 130):
            data, offsets = views(pa.array([" " * fill + prefix.decode() + " " * 70], pa.large_string()))
            assert windows(data, offsets, 1 << KEY, HINTS).start.tolist() == [fill], prefix


PLAIN = {name: ALL[name] for name in ("email", "iban", "card", "ssn")}


@settings(max_examples=300, deadline=None)
@given(HOSTILE.map(clean))
def test_plain_types_are_those_of_the_naive_twin(text: str) -> None:
    data, offsets = views(pa.array([text], pa.large_string()))
    raw = text.encode()
    ours = [(len(raw[: f.start].decode()), len(raw[: f.end].decode()), TYPE_OF_KIND[f.kind]) for f in find(data, offsets, PLAIN).get(0, [])]
    assert ours == [f for f in naive.finds(text) if f[2] != "ip"]


@settings(max_examples=200, deadline=None)
@given(st.lists(HOSTILE.map(clean), min_size=1, max_size=4), st.sampled_from(["tag", "mask", "hash", "fake"]))
def test_second_run_changes_nothing_and_splits_do_not_matter(texts: list[str], action: str) -> None:
    step = PersonalData(**dict.fromkeys(TYPES, action))  # type: ignore[arg-type]
    once = run_step(step, table(*texts))
    assert run_step(step, once).equals(once)
    assert [tagged(t, **dict.fromkeys(TYPES, action)) for t in texts] == once.column("text").to_pylist()
    if action == "mask":
        assert [len(t) for t in texts] == [len(t) for t in once.column("text").to_pylist()]


@pytest.mark.parametrize(
    "unit", ["1", "@", "a@", "1 ", "11 ", "::", "1.", "a.", "AKIA", "eyJ", "-----BEGIN ", "+1", "DE89", "\u4e2d", "4111 ", "a"]
)
def test_hostile_text_is_no_harder_for_being_long(unit: str) -> None:
    """100 kB of one thing; finishes in seconds or the timeout strikes. Work per byte must not grow with length."""
    text = unit * (100_000 // len(unit)) + " a@b.de"
    spans = run_step(PersonalData(email="annotate"), table(text)).column("pii_spans").to_pylist()[0]
    assert spans[-1]["end"] == len(text)
    run_step(PersonalData(mode="annotate"), table(text))
