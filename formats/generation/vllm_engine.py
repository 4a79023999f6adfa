"""vLLM in this process: continuous batching, shared prefixes and a seed for every answer, on one GPU or several."""

from __future__ import annotations

from typing import Any

from curate.errors import MissingDependency
from formats.generation.backend import CapReached, Desk, Question, Sampling
from formats.generation.journal import Answer
from formats.generation.local import TOO_LONG, Tokens
from formats.generation.models import LocalModel

ROUND = 2048  # questions handed over at a time; their answers are journaled together


class VllmBackend:
    """vLLM's offline engine."""

    def __init__(self, model: LocalModel, folder: str, files: list[str]) -> None:
        self._model, self._folder, self._files = model, folder, files
        self._tokens = Tokens(folder)

    def identity(self) -> object:
        """The files, and what else decides the answers."""
        return {"files": self._files, "engine": "vllm", "dtype": self._model.dtype}

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Answer in rounds of 2,048. See Backend."""
        try:
            from vllm import LLM, SamplingParams
        except ModuleNotFoundError as error:
            raise MissingDependency(
                "generate with engine: vllm needs the package 'vllm', which is not installed. Run: pip install vllm, or set engine: transformers"
            ) from error
        m = self._model
        engine = LLM(
            model=self._folder, dtype=m.dtype, tensor_parallel_size=m.tensor_parallel, gpu_memory_utilization=m.gpu_memory,
            max_model_len=m.max_context, enable_prefix_caching=True, trust_remote_code=False,
        )  # fmt: skip
        context = int(engine.llm_engine.model_config.max_model_len)
        given = {"max_tokens": context, **sampling.given()}
        while asked := self._take(desk, context):
            outputs = engine.generate(
                [{"prompt_token_ids": ids} for _, ids in asked],
                [SamplingParams(n=1, seed=question.seed, **given) for question, _ in asked],
                use_tqdm=False,
            )
            desk.answer_all([(question, _answer(output)) for (question, _), output in zip(asked, outputs, strict=True)])
            desk.progress()

    def _take(self, desk: Desk, context: int) -> list[tuple[Question, list[int]]]:
        """The next questions that the caps allow, with their tokens."""
        asked: list[tuple[Question, list[int]]] = []
        while len(asked) < ROUND and (question := desk.next()) is not None:
            if not asked and not desk.spending.allows(question.characters):
                raise CapReached
            if not desk.send(question):
                desk.put_back(question)
                break
            ids = self._tokens.of(question.prompt)
            if len(ids) >= context:
                desk.fail(question, TOO_LONG)
                continue
            asked.append((question, ids))
        return asked


def _answer(output: Any) -> Answer:
    """vLLM's RequestOutput as an answer."""
    said = output.outputs[0]
    return Answer(said.text, said.finish_reason or "stop", len(output.prompt_token_ids or ()), len(said.token_ids))
