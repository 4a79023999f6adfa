"""Problems for rejection_sampling_math.yaml: additions and subtractions of 2-3 digits, with a carry for every position.

    python pipelines/arithmetic.py --seed 0 -o pipelines/arithmetic      # seed, heldout and prompts of three rounds

A solution writes, from the right, each position's two digits and their result with its carry or borrow, and then the answer:
386+57= is 67>13,85>14,30>04;443. Digits stand beside their result, so a model learns the rule from few rows; what those rows
don't show, it has to learn from its own right answers.
No problem is ever drawn twice: held-out, seed and round problems have none in common.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path


def problem(make: random.Random) -> tuple[int, str, int]:
    """(a, sign, b) with 2 or 3 digits each and no negative result."""
    sign = make.choice("+-")
    a, b = (make.randint(10 ** (n - 1), 10**n - 1) for n in (make.randint(2, 3), make.randint(2, 3)))
    return (max(a, b), sign, min(a, b)) if sign == "-" else (a, sign, b)


def solution(a: int, sign: str, b: int) -> tuple[str, str]:
    """(steps and answer, answer)."""
    steps, carry = [], 0
    for place in range(len(str(max(a, b)))):
        x, y = a // 10**place % 10, b // 10**place % 10
        if sign == "+":
            total = x + y + carry
            carry = total // 10
            steps.append(f"{x}{y}>{total:02d}")
        else:
            total = x - y - carry
            carry = int(total < 0)
            steps.append(f"{x}{y}>{carry}{total % 10}")
    answer = str(a + b if sign == "+" else a - b)
    return f"{','.join(steps)};{answer}", answer


def write(folder: Path, seed: int, counts: dict[str, int]) -> None:
    """Files of JSON lines with prompt, completion (of the seed rows only), answer and steps."""
    make = random.Random(1000 + seed)
    seen: set[tuple[int, str, int]] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in counts.items():
        rows = []
        while len(rows) < count:
            found = problem(make)
            if found in seen:
                continue
            seen.add(found)
            steps, answer = solution(*found)
            row = {"id": f"{name}-{len(rows)}", "prompt": "{}{}{}=".format(*found), "answer": answer, "steps": steps}
            rows.append({**row, "completion": steps} if name == "seed" else row)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "ascii")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--rows", type=int, default=450, help="seed rows with solutions")
    options.add_argument("--heldout", type=int, default=1000)
    options.add_argument("--prompts", type=int, default=1500, help="of each round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("-o", "--out", type=Path, default=Path(__file__).with_name("arithmetic"))
    given = options.parse_args()
    rounds = {f"prompts-{n}": given.prompts for n in range(1, given.rounds + 1)}
    write(given.out, given.seed, {"heldout": given.heldout, "seed": given.rows, **rounds})


if __name__ == "__main__":
    main()
