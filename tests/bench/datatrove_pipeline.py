"""The same pipeline in datatrove 0.10.1, as shipped: one process, spaCy words. Run by pipeline.py --peer-python.

It has an environment of its own, because datatrove's MinHash needs xxhash < 4 (from 4 on digests of str are refused):

    python3 -m venv peer
    peer/bin/pip install "datatrove==0.10.1" "xxhash<4" spacy regex nltk fasttext-numpy2-wheel fasteners pyarrow zstandard orjson tokenizers

Steps: read jsonl.zst -> language on the whole text -> Gopher repetition and quality, C4, FineWeb: every filter sees every
document and its verdict is stored, nothing is dropped -> MinHash in its four stages -> e-mail and IP addresses -> parquet.
In the order of datatrove's own examples/fineweb.py.

Two things differ from a plain use: lid.176.ftz is taken from a local file, because the benchmark downloads nothing; and
ZeroDivisionError, which two filters raise on documents without words, counts as a verdict.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter, LanguageFilter
from datatrove.pipeline.filters.base_filter import get_filter_result
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils import lid

PACKAGES = ("datatrove", "xxhash", "spacy", "regex", "nltk", "fasttext-numpy2-wheel", "pyarrow", "zstandard", "orjson", "numpy")


class Annotate(PipelineStep):
    """Run filters on every document and store what they say."""

    type = "FILTER"
    name = "annotate"

    def __init__(self, filters: dict[str, Any]) -> None:
        super().__init__()
        self.filters = filters

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        for doc in data:
            for name, one in self.filters.items():
                text = doc.text
                try:
                    keep, reason = get_filter_result(one.filter(doc))
                except ZeroDivisionError:
                    keep, reason = False, "division_by_zero"
                doc.text = text  # C4 rewrites what it keeps
                doc.metadata[f"{name}_keep"], doc.metadata[f"{name}_reason"] = bool(keep), reason or ""
            yield doc


def cpu_seconds() -> float:
    """User and system time of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def run_all(source: Path, out: Path) -> dict[str, float]:
    """Run the pipeline; CPU seconds by executor."""
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    quality = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    pipelines: dict[str, tuple[int, list[Any]]] = {
        "quality": (
            1,
            [
                JsonlReader(str(source), glob_pattern="*.jsonl.zst"),
                LanguageFilter(backend="ft176", label_only=True),
                Annotate(quality),
                ParquetWriter(str(out / "annotated")),
            ],
        ),
        "signatures": (1, [ParquetReader(str(out / "annotated")), MinhashDedupSignature(str(out / "signatures"), config)]),
        "buckets": (config.num_buckets, [MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config)]),
        "cluster": (1, [MinhashDedupCluster(str(out / "buckets"), str(out / "remove"), config=config)]),
        "filter": (
            1,
            [
                ParquetReader(str(out / "annotated")),
                MinhashDedupFilter(str(out / "remove")),
                PIIFormatter(),
                ParquetWriter(str(out / "result")),
            ],
        ),
    }
    spent = {}
    for name, (tasks, steps) in pipelines.items():
        before = cpu_seconds()
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(out / "logs" / name)).run()
        spent[name] = round(cpu_seconds() - before, 3)
    return spent


def main() -> None:
    """Print one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of jsonl.zst files")
    parser.add_argument("out", type=Path, help="empty folder")
    parser.add_argument("--language-model", required=True, help="lid.176.ftz")
    arguments = parser.parse_args()
    lid.cached_asset_path_or_download = lambda *args, **kwargs: arguments.language_model
    ready, started = cpu_seconds(), time.perf_counter()
    spent = run_all(arguments.source, arguments.out)
    found = {
        "import_cpu_s": round(ready, 3),
        "cpu_s": round(cpu_seconds() - ready, 3),
        "wall_s": round(time.perf_counter() - started, 3),
        "cpu_s_by_stage": spent,
        "versions": {name: version(name) for name in PACKAGES},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
