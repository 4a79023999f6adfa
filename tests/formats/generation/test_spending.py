"""Caps, rates and the line that is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from formats.generation.prompts import seed_of
from formats.generation.spending import Pace, Price, Spending, short


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50), st.booleans()), max_size=60), st.integers(1, 3000))
def test_a_cap_on_tokens_holds_for_any_order(questions: list[tuple[int, int, bool]], cap: int) -> None:
    spending = Spending(len(questions), 0, 0, 0, longest=50, max_tokens=cap)
    flying: list[tuple[int, int, int]] = []
    for number, (characters, out, settle) in enumerate(questions):
        if spending.allows(characters):
            spending.send(number, characters)
            flying.append((number, characters // 3, out))
        if settle and flying:
            at, tokens_in, tokens_out = flying.pop(0)
            spending.settle(at, tokens_in, tokens_out)
        assert spending.flying == len(flying)
    for at, tokens_in, tokens_out in flying:
        spending.settle(at, tokens_in, tokens_out)
    assert spending.tokens_in + spending.tokens_out <= cap


def test_cost() -> None:
    price = Price(input=2.5, output=10)
    spending = Spending(10, 0, 0, 0, longest=1_000_000, price=price, max_cost=30)
    assert price.of(1_000_000, 2_000_000) == 22.5
    assert spending.allows(0)
    spending.send(0, 0)
    spending.send(1, 0)
    assert not spending.allows(3_000_000)  # 2 x 10 are reserved, and this one may take 12.5
    spending.settle(0, 100, 100)
    spending.settle(1)
    assert spending.allows(3_000_000)
    assert spending.cost() == price.of(100, 100)


def test_estimates_follow_what_was_seen() -> None:
    spending = Spending(2, 0, 0, 0, longest=None)
    assert spending.estimate(300) == 108
    spending.send(0, 300)
    spending.settle(0, 150, 20, characters=300)
    assert spending.estimate(300) == 158


@given(st.integers(1, 600), st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_no_minute_has_more_than_the_rate(per_minute: int, gaps: list[float]) -> None:
    pace, now, sent = Pace(per_minute), 100.0, []
    for gap in gaps:
        now += gap
        now += pace.wait(1, now)
        sent.append(now)
    for start in sent:
        assert sum(start <= t < start + 60 for t in sent) <= per_minute + 1


def test_no_rate_waits_for_nothing() -> None:
    assert Pace(None).wait(1e9, 0.0) == 0.0


def test_the_line() -> None:
    spending = Spending(16_000, 1200, 1_234_000, 56_000, longest=100, price=Price(input=1, output=2), max_cost=5)
    spending.retried["http_429"] = 3
    spending.failed["http_400"] = 1
    line = spending.line()
    assert line.startswith("1,200/16,000 answers, 1.2M + 56k tokens, cost 1.35 of 5.00, 0.0/s, 3 retries, 1 failed")
    assert [short(n) for n in (7, 999, 1000, 12_345, 1_500_000, 2 * 10**10)] == ["7", "999", "1.0k", "12k", "1.5M", "20G"]


def test_seeds_are_a_function() -> None:
    assert seed_of("1", b"p", 0) == seed_of("1", b"p", 0)
    assert len({seed_of(base, prompt, s) for base in ("1", "2") for prompt in (b"p", b"q") for s in range(50)}) == 200
    assert all(0 <= seed_of("1", b"p", s) < 1 << 31 for s in range(100))
