"""What an ablation leaves: ablation.json (every figure), ablation.md (for people), ablation.svg (where matplotlib is installed)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.ablation.arms import Arm
from train.ablation.settings import Ablation
from train.ablation.verdict import Difference, overall
from train.evaluation.tables import markdown

Floats = npt.NDArray[np.float64]


def write(
    out: Path,
    ablation: Ablation,
    arms: Sequence[Arm],
    bits: Mapping[str, Floats],
    sizes: Floats,
    domains: Sequence[str],
    found: Sequence[Difference],
) -> str:
    """Write all three; returns the text of ablation.md."""
    table = scores(bits, sizes, domains)
    picture = draw(out / "ablation.svg", found)
    text = page(ablation, arms, table, found, picture)
    content = {
        "name": ablation.name,
        "settings": ablation.model_dump(mode="json"),
        "documents": {d: list(domains).count(d) for d in sorted(set(domains))},
        "bits_per_byte": {v: {d: [round(float(x), 6) for x in row] for d, row in by.items()} for v, by in table.items()},
        "differences": [
            {"better": d.better, "than": d.than, "domain": d.domain, "gain": d.gain._asdict(), "by_seed": d.by_seed, "verdict": d.verdict,
             "seeds_needed": d.seeds_needed}
            for d in found
        ],
        "epochs": {a.variant: a.epochs for a in arms},
        "unique_tokens": {a.variant: a.unique_tokens for a in arms},
        "models": [{"variant": a.variant, "seed": a.seed, "folder": os.path.relpath(a.model, out), "seconds": a.seconds} for a in arms],
    }  # fmt: skip
    (out / "ablation.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (out / "ablation.md").write_text(text, "utf-8")
    return text


def scores(bits: Mapping[str, Floats], sizes: Floats, domains: Sequence[str]) -> dict[str, dict[str, Floats]]:
    """Bits per byte by variant and domain, one number for each seed."""
    names = np.array(domains)
    return {
        variant: {d: rows[:, names == d].sum(1) / sizes[names == d].sum() for d in sorted(set(domains))} for variant, rows in bits.items()
    }


def page(
    ablation: Ablation, arms: Sequence[Arm], table: Mapping[str, Mapping[str, Floats]], found: Sequence[Difference], picture: bool
) -> str:
    """The text for people: sentences first, then tables."""
    pairs = list(dict.fromkeys((d.better, d.than) for d in found))
    seeds = ablation.seed_list()
    fixed = [name for name, v in ablation.variants.items() if v.data is not None]
    parts = [f"# {ablation.name}", ""]
    parts += [f"- {overall(found, *pair)}" for pair in pairs]
    parts += ["", *(["![differences](ablation.svg)", ""] if picture else [])]
    lines = [["pair", "domain", "gain, bits per byte", "95 %", "by seed", "verdict", "seeds for 80 % power"]]
    for d in found:
        by_seed = " ".join(f"{x:+.3f}" for x in d.by_seed)
        needed = f"{d.seeds_needed:,}" if d.seeds_needed else "-"
        lines.append(
            [
                f"{d.better} over {d.than}",
                d.domain,
                f"{d.gain.value:+.4f}",
                f"{d.gain.low:+.4f} to {d.gain.high:+.4f}",
                by_seed,
                d.verdict,
                needed,
            ]
        )
    parts += [markdown(lines), ""]
    all_domains = sorted({d.domain for d in found})
    lines = [["variant", *(f"{d}, bits per byte" for d in all_domains), "different tokens", "epochs"]]
    for variant, by in table.items():
        shown = [f"{by[d].mean():.4f} ({by[d].min():.4f} to {by[d].max():.4f})" for d in all_domains]
        arm = next(a for a in arms if a.variant == variant)
        lines.append([variant, *shown, f"{arm.unique_tokens:,}", ", ".join(f"{name} {x:.2f}" for name, x in arm.epochs.items())])
    parts += [markdown(lines), ""]
    parts += [
        f"{len(seeds)} models of each variant ({ablation.model.preset}, {arms[0].parameters:,} parameters), {ablation.tokens:,} tokens each. Intervals: "
        "paired bootstrap over documents and seeds, 4,000 draws, each for one comparison (with many comparisons some leave zero out by "
        "chance). Decided: the interval leaves zero out and all seeds agree. A seed decides first weights and the order of the data"
        + (f"; of {', '.join(fixed)}, which are finished mixes, first weights only." if fixed else ".")
        + (
            " Larger variants were cut down at random to the tokens of the smallest, so all repeat theirs equally often."
            if ablation.same_unique_tokens
            else " Variants that repeat their data more often (epochs) are helped less by more tokens: `same_unique_tokens: true` takes that out."
        ),
        "",
    ]
    return "\n".join(parts)


def draw(path: Path, found: Sequence[Difference]) -> bool:
    """A point with its interval and the seeds for each comparison; False where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return False
    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "curate"
    figure, axis = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(found)), layout="constrained")
    colours: dict[str, Any] = {"better": "#0072b2", "worse": "#d55e00", "undecided": "#767676"}
    for row, d in enumerate(reversed(found)):
        axis.plot([d.gain.low, d.gain.high], [row, row], color=colours[d.verdict], linewidth=2.5, solid_capstyle="butt")
        axis.plot(d.by_seed, [row] * len(d.by_seed), "|", color=colours[d.verdict], markersize=9)
        axis.plot([d.gain.value], [row], "o", color=colours[d.verdict], markersize=6)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(found)), [f"{d.better} over {d.than}, {d.domain}: {d.verdict}" for d in reversed(found)])
    axis.set_xlabel("bits per byte gained on held-out text (point: mean; bar: 95 %; ticks: seeds)")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True
