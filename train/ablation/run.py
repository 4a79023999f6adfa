"""All arms of an ablation, seed by seed, so that an interrupted one has whole seeds to look at; then the verdicts."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from curate.errors import DataError
from train.ablation import arms as arm_runs
from train.ablation import page, settings
from train.ablation.apart import how_many, train_apart
from train.ablation.arms import Arm, Study
from train.ablation.verdict import differences
from train.evaluation.tasks import Task
from train.progress import Line


def run_ablation(file: Path, out: Path | None = None, workers: int | None = None, at_once: int | None = None) -> tuple[Path, str]:
    """Run an ablation file. Returns the folder of the results and the text of ablation.md.

    at_once: models that are trained at a time, each in a process of its own; None: see train.ablation.apart.how_many
    Raises RecipeError or DataError before the first model where something is wrong, DataError where variants have different tokenizers.
    """
    ablation = settings.load(file)
    folder = str(file.absolute().parent)
    target = (out or Path("ablations") / str(ablation.name)).absolute()
    tasks = arm_runs.held_out(ablation, folder)
    target.mkdir(parents=True, exist_ok=True)
    study = Study(ablation, folder, target, workers)
    made = {v: arm_runs.variant_data(study, v, ablation.seed_list()[0]) for v in ablation.variants}
    check_tokenizers({v: arm_runs.tokenizer_digest(data) for v, data in made.items()})
    if ablation.same_unique_tokens:
        study = replace(study, left_out=arm_runs.equal_shares(made))
    found = _all_arms(study, file, tasks, how_many(at_once, len(made)))
    bits = {variant: np.array([arm.bits for arm in mine]) for variant, mine in found.items()}
    domains = [item.domain for task in tasks for item in task.items]
    sizes = np.array([len(item.prompt.encode()) for task in tasks for item in task.items], np.float64)
    verdicts = differences(bits, sizes, domains, ablation.pairs())
    text = page.write(target, ablation, [a for mine in found.values() for a in mine], bits, sizes, domains, verdicts)
    return target, text


def _all_arms(study: Study, file: Path, tasks: list[Task], count: int) -> dict[str, list[Arm]]:
    """Arms by variant, in the order of the seeds."""
    seeds, variants = study.ablation.seed_list(), list(study.ablation.variants)
    if count > 1:
        sys.stderr.write(f"{len(seeds) * len(variants)} models, {count} at a time\n")
        train_apart(study, file, count)
        shutil.rmtree(study.out / ".apart")
        return {v: [arm_runs.read_arm(study.target(v, seed)) for seed in seeds] for v in variants}
    found: dict[str, list[Arm]] = {name: [] for name in variants}
    left = len(seeds) * len(variants)
    for seed in seeds:
        for variant, mine in found.items():
            sys.stderr.write(f"{variant}, seed {seed} ({left} models to go)\n")
            mine.append(arm_runs.run_arm(study, variant, seed, tasks, Line(f"{variant}, seed {seed}")))
            left -= 1
    return found


def check_tokenizers(digests: dict[str, str]) -> None:
    """Raise DataError where variants were tokenized differently: fewer tokens a byte would look like better data."""
    first, *others = digests.items()
    for name, digest in others:
        if digest != first[1]:
            raise DataError(
                f"variants {first[0]!r} and {name!r} have different tokenizers, so their models see different amounts of text in as many tokens. "
                "Let one tokenizer serve all: train it on a dataset that no variant changes, or name a folder."
            )
