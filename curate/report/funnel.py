"""The terminal summary of a run: for each dataset a funnel (documents and text after every step, drops by reason)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from curate.report.words import size

BAR_WIDTH = 18
REASONS_SHOWN = 4
COUNTS_SHOWN = 12


def bar(share: float) -> Text:
    """A horizontal bar for a share in [0, 1]."""
    eighths = round(max(0.0, min(1.0, share)) * BAR_WIDTH * 8)
    full, rest = divmod(eighths, 8)
    return Text(("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(BAR_WIDTH), style="cyan")


def funnel_table(name: str, entry: Mapping[str, Any]) -> Table:
    """One dataset."""
    head = f"{entry['rows_in']:,} in, {entry['rows_out']:,} out" if entry["rows_in"] is not None else ""
    extra = [f"{entry['tokens']:,} tokens"] if entry["tokens"] else []
    if entry["quarantined"]:
        extra.append(f"{entry['quarantined']:,} quarantined")
    table = Table(title=Text.assemble((name, "bold"), f"  {', '.join([head, *extra])}"), title_justify="left", box=None, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("documents", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("text", justify="right", no_wrap=True)
    table.add_column("dropped, by reason; found, by type", style="dim", overflow="fold")
    first = max(1, entry["rows_in"] or 1)
    for line in entry["funnel"]:
        text = size(line["bytes"]) if line["bytes"] else ""
        passed = skip_text(entry.get("skipped", {})) if line is entry["funnel"][0] else ""
        words = ", ".join(filter(None, [drop_text(line["dropped"]), count_text(line.get("counts", {})), passed]))
        table.add_row(line["step"], f"{line['rows']:,}", bar(line["rows"] / first), text, words)
    return table


def drop_text(dropped: Mapping[str, int]) -> str:
    """'too_short 791, few_letters 49, 3 other reasons 12': the commonest reasons; the manifest has them all."""
    reasons = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    shown = REASONS_SHOWN if len(reasons) > REASONS_SHOWN + 1 else len(reasons)
    words = [f"{reason.partition('.')[2] or reason} {count:,}" for reason, count in reasons[:shown]]
    rest = reasons[shown:]
    if rest:
        words.append(f"{len(rest)} other reasons {sum(count for _, count in rest):,}")
    return ", ".join(words)


def skip_text(skipped: Mapping[str, int]) -> str:
    """'no documents: type request 261, mime image/gif 29': what the reader passed over, the commonest reasons."""
    reasons = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    words = [f"{reason} {count:,}" for reason, count in reasons[:REASONS_SHOWN]]
    if len(reasons) > REASONS_SHOWN:
        words.append(f"others {sum(count for _, count in reasons[REASONS_SHOWN:]):,}")
    return "no documents: " + ", ".join(words) if words else ""


def count_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    """'found: email 120, phone 7': figures that a step reported, summed over sources; the manifest has them by source."""
    total: Counter[str] = Counter()
    for figures in counts.values():
        total.update(figures)
    largest = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return "found: " + ", ".join(f"{name} {count:,}" for name, count in largest[:COUNTS_SHOWN]) if total else ""


def warnings(entry: Mapping[str, Any]) -> list[str]:
    """What corpus steps warn of, one line each."""
    return [f"{step}: {line}" for step, found in entry.get("findings", {}).items() for line in found.get("warnings", ())]


def mix_lines(entry: Mapping[str, Any]) -> RenderableType:
    """What a mix says of itself."""
    return Text("\n".join(entry["info"].get("feasibility", [])))


def plain_figure(value: Any) -> bool:
    """Whether a value of a node's info reads well in one line."""
    return isinstance(value, int | float | str) and not isinstance(value, bool) and len(str(value)) < 20


def render(manifest: Mapping[str, Any], out: str, seconds: float, tasks_run: int, tasks_reused: int) -> Group:
    """The whole summary."""
    parts: list[RenderableType] = []
    for name, entry in manifest["datasets"].items():
        parts.append(Text(""))
        if entry["kind"] == "dataset":
            parts.append(funnel_table(name, entry))
            parts += [Text(line, style="yellow") for line in warnings(entry)]
        else:
            parts += [Text.assemble((name, "bold"), f"  {entry['kind']}, {entry['tokens']:,} tokens"), mix_lines(entry)]
    for name, entry in manifest["models"].items():
        figures = ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in entry["info"].items() if plain_figure(v))
        parts += [Text(""), Text.assemble((name, "bold"), f"  {entry['kind']}: {figures}")]
    parts += [Text(""), Text(f"{out}   {seconds:.1f} s, {tasks_run} tasks run, {tasks_reused} reused", style="green")]
    return Group(*parts)


def print_summary(console: Console, manifest: Mapping[str, Any], out: str, seconds: float, tasks_run: int, tasks_reused: int) -> None:
    """Print the summary."""
    console.print(render(manifest, out, seconds, tasks_run, tasks_reused), soft_wrap=False)


def print_times(console: Console, manifest: Mapping[str, Any]) -> None:
    """Print the seconds that workers spent in every stage, the costliest parts first."""
    for label, spent in manifest["seconds"].items():
        parts = sorted(((what, s) for what, s in spent.items() if what != "task" and s >= 0.005), key=lambda item: -item[1])
        console.print(
            Text.assemble((f"{label}  {spent.get('task', 0.0):.2f} s  ", "bold"), (", ".join(f"{w} {s:.2f}" for w, s in parts), "dim"))
        )
