"""The only place that runs steps: one task of one stage, from its job file to its receipt.

`execute` needs a path and a number, so any executor can call it: a local process, a Ray task, a Slurm array element.
"""

from curate.worker.task import execute

__all__ = ["execute"]
