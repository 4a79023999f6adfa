"""Several arms at a time, each in a process of its own: small models leave the cores of a machine idle.

A process takes whole variants, because a variant's data lie in one run folder. It is `python -m train.ablation.apart JOB.json N`; results are
the arms' files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from curate.errors import CurateError
from train.ablation import arms, settings
from train.ablation.arms import Study
from train.launch import forget_errors, see_through, tell_error
from train.progress import Line

JOB = "job.json"
MOST = 8  # processes, where nobody says how many
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # asked for without importing torch


def how_many(wanted: int | None, variants: int) -> int:
    """Processes to train in: as many as wanted; else one where there is a GPU, or one for each core. Never more than variants."""
    if wanted is None:
        wanted = 1 if any(os.path.exists(path) for path in GPU_DEVICES) else min(MOST, len(os.sched_getaffinity(0)))
    return min(wanted, variants)


def train_apart(study: Study, file: Path, count: int) -> None:
    """Train every arm that is not done, in `count` processes. Raises the error of the first that fails."""
    work = study.out / ".apart"
    work.mkdir(exist_ok=True)
    forget_errors(work)
    names = list(study.ablation.variants)
    cores = max(1, len(os.sched_getaffinity(0)) // count)
    job = {
        "file": str(file.absolute()),
        "out": str(study.out),
        "workers": min(study.workers or cores, cores),
        "left_out": dict(study.left_out),
        "variants": [names[n::count] for n in range(count)],
    }
    (work / JOB).write_text(json.dumps(job), "utf-8")
    environment = {"OMP_NUM_THREADS": str(cores), **os.environ}
    command = [sys.executable, "-P", "-m", "train.ablation.apart", str(work / JOB)]
    see_through([subprocess.Popen([*command, str(n)], env=environment, stdin=subprocess.DEVNULL) for n in range(count)], work)


def main(arguments: list[str]) -> int:
    """Entry point of one process."""
    from curate.executors.process import die_with_parent

    die_with_parent()
    path, number = Path(arguments[0]), int(arguments[1])
    job = json.loads(path.read_bytes())
    file = Path(job["file"])
    try:
        study = Study(settings.load(file), str(file.parent), Path(job["out"]), job["workers"], job["left_out"])
        tasks = arms.held_out(study.ablation, study.folder)
        for seed in study.ablation.seed_list():
            for variant in job["variants"][number]:
                arms.run_arm(study, variant, seed, tasks, Line(f"{variant}, seed {seed}"))
    except CurateError as error:
        tell_error(path.parent, number, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
