"""Actions that write: hashes and fakes are keyed, consistent, in reserved ranges, and never found again."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import phonenumbers
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.apply import outcomes, run_step
from curate.context import WorkContext
from curate.errors import DataError
from curate.steps.personal_data import TYPES, PersonalData
from curate.steps.pii_numbers import luhn, mod97


def written(text: str, seed: int = 0, **fields: object) -> str:
    table = pa.table({"text": pa.array([text], pa.large_string())})
    return str(run_step(PersonalData(**fields), table, WorkContext(seed=seed)).column("text")[0])  # type: ignore[arg-type]


def test_hash_is_keyed_and_consistent(tmp_path: Path) -> None:
    one = written("Jane@Corp.com, jane@corp.com and joe@corp.com", email="hash").replace(",", "").replace(" and", "").split()
    assert one[0] == one[1] != one[2]
    assert one[0].startswith("<EMAIL_") and len(one[0]) == len("<EMAIL_") + 17
    assert written("jane@corp.com", email="hash", seed=1) != one[0]
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123")
    keyed = written("jane@corp.com", email="hash", secret_file=str(secret))
    assert keyed == written("jane@corp.com", email="hash", secret_file=str(secret), seed=9) != one[0]
    secret.write_text("short")
    with pytest.raises(DataError, match="at least 16"):
        written("x", secret_file=str(secret))
    with pytest.raises(DataError, match="openssl rand"):
        written("x", secret_file=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "jane.doe@corp.com"), ("ip", "8.8.8.8"), ("ip", "2606:4700::1111"), ("phone", "541-754-3010"), ("phone", "+49 30 1234567"),
        ("phone", "030 / 123 45 67"), ("phone", "call 467-3395"), ("phone", "541-754-3010 ext. 12"), ("card", "4111 1111 1111 1111"), ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "gb29nwbk60161331926819"), ("ssn", "460-89-9847"), ("national_id", "529.982.247-25"), ("national_id", "12345678-Z"),
        ("national_id", "AB 12 34 56 C"), ("credentials", "ftp://joe:s3cr3t-Pw@host/"), ("key", "sk-proj-abcDEF1234567890ghijKLMN"),
        ("key", f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow+/' * 9}\n-----END RSA PRIVATE KEY-----"),
    ],
)  # fmt: skip
def test_fakes_differ_keep_their_shape_and_stay(kind: str, text: str) -> None:
    made = written(text, **{kind: "fake"})
    assert made != text and f"<{kind.upper()}" not in made
    assert written(made, **{kind: "fake"}) == made
    assert written(text, seed=1, **{kind: "fake"}) != made or kind == "ip"
    if kind not in ("email", "ip"):
        assert len(made) == len(text)
    if kind not in ("email", "ip", "credentials", "key"):
        assert [c for c in made if not c.isalnum()] == [c for c in text if not c.isalnum()]


def test_one_value_has_one_fake_however_it_is_written() -> None:
    made = written("Jane@corp.com jane@CORP.com\n4111 1111 1111 1111 and 4111111111111111", email="fake", card="fake")
    mails, cards = made.split("\n")
    assert len(set(mails.split())) == 1
    assert cards.split(" and ")[0].replace(" ", "") == cards.split(" and ")[1]
    assert written("to jane@corp.com", email="fake").split()[1] == mails.split()[0]


def test_fakes_are_nobodys() -> None:
    nets = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    for number in range(40):
        assert written(f"a{number}@corp{number}.com", email="fake").endswith(".example.com")
        address = ipaddress.ip_address(written(f"host 8.8.{number}.8", ip="fake").split()[1])
        assert any(address in net for net in nets if net.version == address.version)
        phone = written(f"+49 151 234567{number:02}", phone="fake")
        assert not phonenumbers.is_valid_number(phonenumbers.parse(phone)) and phone[-7:-2].replace(" ", "")[-5:] == "55501"
        assert written(f"(541) 754-30{number:02}", phone="fake")[-8:-2] == "555-01"
        card = written("4111 1111 1111 1111", seed=number, card="fake").replace(" ", "").encode()
        assert card[:1] == b"4" and not luhn(card)
        iban = written("DE89370400440532013000", seed=number, iban="fake").encode()
        assert iban[:2] == b"DE" and not mod97(iban)
        assert written("460-89-9847", seed=number, ssn="fake")[:3] in ("000", "666")


def test_real_looking_reserved_values_are_left_alone_by_fake_only() -> None:
    text = "me@example.org 192.0.2.7 (541) 555-0123"
    assert written(text, email="fake", ip="fake", phone="fake") == text
    assert written(text, email="tag", ip="tag", phone="tag") == "<EMAIL> <IP> <PHONE>"


def test_counts_by_source_and_type() -> None:
    batch = pa.record_batch(
        {"text": pa.array(["a@b.de c@d.de", "8.8.8.8", None, "a@b.de"], pa.large_string()), "source": pa.array(["x", "x", "x", None])}
    )
    for action in ("tag", "fake", "annotate", "drop_document"):
        (outcome,) = outcomes(PersonalData(**dict.fromkeys(TYPES, action)), [batch])  # type: ignore[arg-type]
        assert outcome.counts == {"x": {"email": 2, "ip": 1}, "": {"email": 1}}
    (outcome,) = outcomes(PersonalData(email="tag"), [batch])
    assert outcome.counts == {"x": {"email": 2}, "": {"email": 1}}


def test_settings_are_checked() -> None:
    assert PersonalData(engine="presidio").engine == ("presidio",)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="found by Presidio only"):
        PersonalData(entities={"person": "tag"})
    with pytest.raises(ValidationError, match="type of its own"):
        PersonalData(engine=("presidio",), entities={"EMAIL": "tag"})
    with pytest.raises(ValidationError):
        PersonalData(engine=("presidio",), entities={"person": "fake"})  # type: ignore[dict-item]
