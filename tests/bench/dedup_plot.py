"""Draw docs/deduplication.svg from the saved results of dedup_simulation.py and dedup_speed.py.

python -m tests.bench.dedup_plot        # needs matplotlib
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "curate"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    runs = json.loads((HERE / "results" / "dedup_simulation.json").read_text())["runs"]
    runs = [run for run in runs if run["documents"] >= 10**6]
    documents = [run["documents"] for run in runs]
    cpu = [sum(stage["cpu_s"] for stage in run["stages"].values()) for run in runs]
    left.plot(documents, cpu, "o-", label="records alone (simulation)")
    speed = HERE / "results" / "dedup_speed.json"
    if speed.exists():
        growth = json.loads(speed.read_text())["growth"]
        left.plot([g["documents"] for g in growth], [g["cpu_s_without_start"] for g in growth], "s-", label="text of 100 words, all phases")
    left.plot(documents, [cpu[0] * n / documents[0] for n in documents], ":", color="grey", label="linear")
    left.set(xscale="log", yscale="log", xlabel="documents", ylabel="CPU seconds", title="Cost")
    for name in ("bands", "buckets", "gather", "verify", "assign"):
        right.plot(documents, [run["stages"][name]["peak_bytes"] / 1e6 for run in runs], "o-", label=name)
    right.set(xscale="log", xlabel="documents", ylabel="MB", title="Largest process of each stage", ylim=0)
    for axes in (left, right):
        axes.legend(fontsize=8, frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(HERE.parents[1] / "docs" / "deduplication.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
