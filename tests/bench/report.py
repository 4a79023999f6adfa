"""Figures derived from a result of pipeline.py, and the tables made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Found = Mapping[str, Any]
Row = Sequence[str]
GIB_MB = 2**30 / 1e6
LEAST_S = 0.4  # CPU seconds beside the start-up below which their ratio means nothing
NAMES = {
    "parquet-1": "to parquet, 1 worker",
    "tokens-1": "with tokenize, 1 worker",
    "parquet-2": "to parquet, 2 workers",
    "tokens-2": "with tokenize, 2 workers",
}
PARTS = {"mixed": "part in all languages", "english": "part in English"}
QUALITY = ("gopher_quality", "gopher_repetition", "c4", "fineweb")


def figure(run: Found, name: str) -> float:
    """Median over the repeated runs."""
    return float(median(one[name] for one in run["runs"]))


def rate(run: Found) -> float:
    """MB of text per second of wall time."""
    return float(run["text_mb"] / figure(run, "wall_s"))


def per_gb(run: Found) -> float:
    """CPU seconds per GB of text."""
    return float(figure(run, "cpu_s") / run["text_mb"] * 1000)


def peak(run: Found) -> float:
    """Largest peak memory of a worker in any of the runs, MB."""
    return float(max(one["peak_worker_mb"] for one in run["runs"]))


def ratios(found: Found) -> list[tuple[str, float]]:
    """CPU seconds per GB, peer over ours. A part is small, so what a run costs before it has text is shown in and out."""
    made = []
    for name, part in found["parts"].items():
        ours, peer = part["ours"], part["peer"]
        bare = figure(ours, "cpu_s") - found["start_up"]["second_cpu_s"]
        peer_per_gb = peer["cpu_s_without_imports"] / peer["text_mb"] * 1000
        made.append(
            (f"{PARTS[name]} / curate's whole text, datatrove's imports left out", peer_per_gb / per_gb(found["runs"]["parquet-1"]))
        )
        if bare > LEAST_S:
            made.append((f"{PARTS[name]}, start-up of both left out", peer["cpu_s_without_imports"] / bare))
        made.append((f"{PARTS[name]}, start-up of both counted", peer["cpu_s"] / figure(ours, "cpu_s")))
    return made


def bars(found: Found) -> list[Row]:
    """What is promised, what is measured."""
    runs = found["runs"]
    rows = [
        ("MB/s per core to parquet", f"{rate(runs['parquet-1']):.1f}", "12"),
        ("MB/s per core with tokenize", f"{rate(runs['tokens-1']):.1f}", "10"),
        ("largest worker, MB", f"{max(peak(run) for run in runs.values()):.0f}", f"under {GIB_MB:.0f}"),
    ]
    if "parquet-2" in runs:
        rows += [
            (f"2 workers against 1, {kind}", f"{figure(runs[f'{kind}-1'], 'wall_s') / figure(runs[f'{kind}-2'], 'wall_s'):.2f}", "1.8")
            for kind in ("parquet", "tokens")
        ]
        same = all(runs[f"{kind}-1"]["digest"] == runs[f"{kind}-2"]["digest"] for kind in ("parquet", "tokens"))
        rows.append(("same bytes with 1 and 2 workers", "yes" if same else "NO", "yes"))
    for number, (name, ratio) in enumerate(ratios(found) if "parts" in found else []):
        rows.append((f"CPU s per GB, datatrove / curate: {name}", f"{ratio:.1f}", "" if number else "30"))
    return rows


def run_rows(found: Found) -> list[Row]:
    """One row a setting."""
    rows = [_run_row(NAMES[key], run) for key, run in found["runs"].items()]
    for name, part in found.get("parts", {}).items():
        peer = part["peer"]
        rows.append(_run_row(f"to parquet, 1 worker, {PARTS[name]}", part["ours"]))
        rows.append(_run_row(f"datatrove, 1 process, {PARTS[name]}", {"text_mb": peer["text_mb"], "runs": [peer]}))
    return rows


def _run_row(name: str, run: Found) -> Row:
    walls = [one["wall_s"] for one in run["runs"]]
    wall = f"{median(walls):.1f}" + (f" ({min(walls):.1f}-{max(walls):.1f})" if len(walls) > 1 else "")
    return (
        name,
        f"{run['text_mb']:.1f}",
        wall,
        f"{figure(run, 'cpu_s'):.1f}",
        f"{rate(run):.2f}",
        f"{per_gb(run):.0f}",
        f"{peak(run):.0f}",
    )


def step_rows(found: Found) -> list[Row]:
    """Rows after every step; for a step that only annotates, what it would keep of the rows at the end."""
    kept = found["kept"]
    return [(line["step"], f"{line['rows']:,}", f"{line['mb']:.1f}", f"{kept[line['step']]:,}" if line["step"] in kept else "")
            for line in found["runs"]["parquet-1"]["funnel"]]  # fmt: skip


def agreement_rows(part: Found) -> list[Row]:
    """Share of documents on which curate and datatrove say the same."""
    ours, theirs, share = part["ours"]["kept"], part["peer"]["kept"], part["agreement"]
    rows = [("language", "", "", f"{share['lang_code']:.2%}")]
    return rows + [(step, f"{ours[step]:,}", f"{theirs[step]:,}", f"{share[f'{step}_keep']:.2%}") for step in QUALITY]


def tables(found: Found) -> list[tuple[str, Row, list[Row]]]:
    """(title, head, rows) of everything there is to show."""
    start = found["start_up"]
    slowest = list(found["runs"]["parquet-1"]["step_seconds"].items())[:16]
    made = [
        ("Bars", ("", "measured", "bar"), bars(found)),
        ("Runs (median, in brackets the range)", ("", "text, MB", "wall, s", "CPU, s", "MB/s", "CPU s per GB", "largest worker, MB"), run_rows(found)),
        ("Documents", ("step", "rows after it", "text, MB", "of the rows at the end it would keep"), step_rows(found)),
        (
            "Start-up: a run on 0.2 MB",
            ("", "wall, s", "CPU, s"),
            [(label, f"{start[f'{key}_wall_s']:.1f}", f"{start[f'{key}_cpu_s']:.1f}")
             for label, key in (("first, kernels are compiled", "first"), ("second", "second"))],
        ),
        ("Seconds in the worker, largest first", ("stage and step", "s"), [(name, f"{spent:.2f}") for name, spent in slowest]),
    ]  # fmt: skip
    for name, part in found.get("parts", {}).items():
        left = part["ours"]["funnel"][-1]["rows"], part["peer"]["rows_out"]
        title = f"Verdicts, {PARTS[name]}: {left[0]:,} rows left by curate, {left[1]:,} by datatrove, {part['agreement']['documents']:,} by both"
        made.append((title, ("step", "curate keeps", "datatrove keeps", "same on common documents"), agreement_rows(part)))
    return made


def facts(found: Found) -> list[str]:
    """Where, with what, on what."""
    at, corpus = found["machine"], found["corpus"]
    lines = [
        f"Machine: {at['cpu']}, {at['cores']} cores, {at['memory_gb']} GB, {at['system']}; load before the run {at['load_before']}.",
        f"Commit {found['commit']}. Versions: " + ", ".join(f"{k} {v}" for k, v in found["versions"].items()) + ".",
        f"Corpus: {corpus['documents']:,} documents, {corpus['copies']:,} of them edited copies, {corpus['text_bytes'] / 1e6:.1f} MB of text "
        f"({corpus['file_bytes'] / 1e6:.1f} MB as jsonl.zst), the longest document {corpus['longest_bytes'] / 1e6:.2f} MB.",
    ]
    for name, part in found.get("parts", {}).items():
        spent = ", ".join(f"{k} {v:.1f}" for k, v in part["peer"]["cpu_s_by_stage"].items())
        lines.append(f"datatrove's CPU seconds by stage, {PARTS[name]} ({part['corpus']['documents']:,} documents): {spent}.")
    if "parts" in found:
        lines.append("Peer: " + ", ".join(f"{k} {v}" for k, v in part["peer"]["versions"].items()) + ".")
    return lines


def as_text(found: Found) -> str:
    """For the terminal."""
    parts = ["\n".join(facts(found))]
    for title, head, rows in tables(found):
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            (row[0].ljust(widths[0]) + "".join("  " + cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))).rstrip()
            for row in (head, *rows)
        ]
        parts.append(f"{title}\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts)


def as_markdown(found: Found) -> str:
    """For docs/benchmarks.md."""
    parts = ["\n".join(f"- {line}" for line in facts(found))]
    for title, head, rows in tables(found):
        rule = ["---", *["---:"] * (len(head) - 1)]
        parts.append(f"**{title}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)))
    return "\n\n".join(parts)
