"""Recall and precision of `pii` and of Presidio's pattern recognisers, by type, on labelled sets; every miss by cause.

    python -m tests.bench.pii_quality DATA [--save]     DATA has pii/presidio_synth_v2.jsonl.gz and pii/pii_syn_nano_en.jsonl.gz

A labelled span is found where a find of its type covers at least half of it; a find is right where it overlaps a labelled
span of its type. Finds on a span labelled as another type count as false.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from curate.context import WorkContext
from curate.steps.personal_data import PersonalData

# Labels of the sets -> our types. Labels without a pattern (names, places, dates) are left out.
LABELS = {
    "EMAIL_ADDRESS": "email", "EMAIL": "email", "IP_ADDRESS": "ip", "IP": "ip", "PHONE_NUMBER": "phone", "PHONE": "phone", "CREDIT_CARD": "card",
    "IBAN_CODE": "iban", "IBAN": "iban", "US_SSN": "ssn", "SSN": "ssn", "AADHAAR": "national_id", "AADHAAR_NUMBER": "national_id", "PAN": "national_id",
    "PAN_NUMBER": "national_id", "API_KEY": "key", "NHS_NUMBER": "national_id", "NATIONAL_ID": "national_id", "IN_AADHAAR": "national_id", "IN_PAN": "national_id",
}  # fmt: skip
PEER = {"in_aadhaar": "national_id", "in_pan": "national_id", "uk_nhs": "national_id", "uk_nino": "national_id", "es_nif": "national_id"}
Span = tuple[int, int, str]
ENGINES = {"curate": ["fast"], "presidio": ["presidio"], "both": ["fast", "presidio"]}


def load(path: Path) -> list[tuple[str, list[Span]]]:
    """(text, labelled spans) of either set; offsets of the second one are found by search."""
    rows = []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        row = json.loads(line)
        if "full_text" in row:
            spans = [(s["start_position"], s["end_position"], s["entity_type"]) for s in row["spans"]]
            rows.append((row["full_text"], spans))
            continue
        spans = []
        for entity in row["NER"] or []:
            value = str(entity.get("entity") or entity.get("text") or "")
            spans += [(m.start(), m.end(), entity["label"]) for m in re.finditer(re.escape(value), row["text"])][:1] if value else []
        rows.append((row["text"], spans))
    return rows


def found(texts: list[str], engine: list[str]) -> list[list[Span]]:
    """Finds of one engine."""
    step = PersonalData(mode="annotate", engine=engine)  # type: ignore[arg-type]
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    spans = step.bind(WorkContext())(batch).batch.column("pii_spans").to_pylist()
    return [[(s["start"], s["end"], PEER.get(s["type"], s["type"])) for s in row] for row in spans]


def covers(gold: Span, find: Span) -> bool:
    return find[2] == gold[2] and 2 * (min(gold[1], find[1]) - max(gold[0], find[0])) >= gold[1] - gold[0]


def cause(kind: str, value: str, before: str) -> str:
    """Why a labelled span is no find of ours."""
    digits = re.sub(r"\D", "", value)
    if kind == "phone":
        return "local number, no area code" if len(digits) < 9 else "no valid number of the default regions, in this grouping"
    if kind == "card":
        from tests.reference.pii import luhn

        return "check digit wrong" if not luhn(digits) else "issuer range unknown"
    return {"national_id": "form or check digit of no country that is known", "key": "no known prefix"}.get(
        kind, "form, range or check digit wrong"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--save", action="store_true", help="write tests/bench/results/pii_quality.json")
    arguments = parser.parse_args()
    record: dict[str, object] = {"versions": {p: version(p) for p in ("curate", "presidio-analyzer", "phonenumbers", "spacy")}}
    for name in ("presidio_synth_v2", "pii_syn_nano_en"):
        rows = load(arguments.data / "pii" / f"{name}.jsonl.gz")
        texts = [t for t, _ in rows]
        gold = [[(a, z, LABELS[k]) for a, z, k in spans if k in LABELS] for _, spans in rows]
        types = sorted({k for spans in gold for _, _, k in spans})
        total = Counter(k for spans in gold for _, _, k in spans)
        print(f"\n{name}: {len(rows)} texts; recall / precision (right of found)")
        print(f"{'type':12} {'spans':>6}" + "".join(f"{e:>24}" for e in ENGINES))
        results: dict[str, dict[str, tuple[int, int, int]]] = defaultdict(dict)
        missed: list[tuple[str, str, str]] = []
        for engine, setting in ENGINES.items():
            finds = found(texts, setting)
            for kind in types:
                hit = sum(any(covers(g, f) for f in here) for spans, here in zip(gold, finds, strict=True) for g in spans if g[2] == kind)
                ours = [(f, spans) for spans, here in zip(gold, finds, strict=True) for f in here if f[2] == kind]
                right = sum(any(g[2] == kind and f[0] < g[1] and g[0] < f[1] for g in spans) for f, spans in ours)
                results[kind][engine] = (hit, right, len(ours))
            if engine == "curate":
                missed = [
                    (k, texts[i][a:z], cause(k, texts[i][a:z], texts[i][:a]))
                    for i, (spans, here) in enumerate(zip(gold, finds, strict=True)) for a, z, k in spans if not any(covers((a, z, k), f) for f in here)
                ]  # fmt: skip
                false = [
                    (f[2], texts[i][max(0, f[0] - 20) : f[1] + 10]) for i, (spans, here) in enumerate(zip(gold, finds, strict=True)) for f in here
                    if f[2] in types and not any(g[2] == f[2] and f[0] < g[1] and g[0] < f[1] for g in spans)
                ]  # fmt: skip
        for kind in types:
            cells = "".join(f"{h / total[kind]:>9.1%} / {f'{r} of {n}':>12}" for h, r, n in results[kind].values())
            print(f"{kind:12} {total[kind]:>6}{cells}")
        print("misses of curate, by cause:")
        for (kind, why), count in sorted(Counter((k, w) for k, _, w in missed).items()):
            print(f"  {kind}, {why}: {count}: " + " | ".join(v for k, v, w in missed if (k, w) == (kind, why)))
        print(f"false finds of curate: {false}")
        record[name] = {"spans": total, "results": results, "misses": dict(Counter(f"{k}: {w}" for k, _, w in missed))}
    if arguments.save:
        path = Path(__file__).parent / "results" / "pii_quality.json"
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
