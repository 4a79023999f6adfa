"""Models in this process: which engine, loading, and the batches that transformers is given.

Batches are a function of all questions, sorted by the length of their prompts: not of their order, nor of which are answered already, and a batch
is journaled whole. So a run that was killed makes the same batches as one that was not, and the same answers on the same machine. Draws are a
function of (seed, place) for each answer (`decoding.py`), whatever stands beside it in the batch; but another batch may change the last
digits of logits, and so, rarely, a token.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from curate.errors import MissingDependency, RecipeError
from formats.generation.backend import Backend, CapReached, Desk, Question, Sampling
from formats.generation.models import LocalModel
from formats.generation.prompts import Prompt, prompt_of_bytes

TOO_LONG = "too_long"  # the prompt fills the model's context


def choose_engine(model: LocalModel, folder: str, files: list[str]) -> Backend:
    """The backend for a checkpoint folder. files: names and digests of its files."""
    engine = model.engine
    if engine == "auto":
        engine = "vllm" if importlib.util.find_spec("vllm") is not None and model.device != "cpu" and _has_gpu() else "transformers"
    if engine == "vllm":
        from formats.generation.vllm_engine import VllmBackend

        return VllmBackend(model, folder, files)
    return TransformersBackend(model, folder, files)


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


class Tokens:
    """Prompts as token ids, by the checkpoint's own tokenizer and chat template."""

    def __init__(self, folder: str) -> None:
        try:
            from transformers import AutoTokenizer
        except ModuleNotFoundError as error:
            raise MissingDependency.extra(error.name or "transformers", "train", "generate with a model in this process") from error
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise RecipeError(f"model: the tokenizer in {folder} can't be loaded: {str(error).splitlines()[0]}") from error
        self._folder = folder

    def of(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, up to where the answer begins."""
        if prompt.messages is None:
            return list(self.tokenizer(prompt.text)["input_ids"])
        if self.tokenizer.chat_template is None:
            raise RecipeError(
                f"model: the tokenizer in {self._folder} has no chat template, so turns can't be sent to it. Set plain_prompts: text to continue "
                "bare strings, or save a template beside the model."
            )
        try:
            return list(
                self.tokenizer.apply_chat_template(prompt.messages, tools=prompt.tools, add_generation_prompt=True, return_dict=False)
            )
        except Exception as error:  # a template is a program of the model's and may raise anything
            raise RecipeError(f"model: the chat template in {self._folder} refuses a prompt: {type(error).__name__}: {error}") from error

    def text(self, ids: list[int]) -> str:
        """Text of an answer's tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class TransformersBackend:
    """Any causal language model of transformers, on a CPU or one GPU."""

    def __init__(self, model: LocalModel, folder: str, files: list[str]) -> None:
        self._model, self._folder, self._files = model, folder, files
        self._tokens = Tokens(folder)

    def identity(self) -> object:
        """The files, and what else decides the answers."""
        m = self._model
        return {
            "files": self._files,
            "engine": "transformers",
            "dtype": m.dtype,
            "device": m.device,
            "rows": m.batch_rows,
            "tokens": m.batch_tokens,
        }

    def run(self, desk: Desk, sampling: Sampling) -> None:
        """Answer batch by batch. See Backend."""
        from formats.generation.decoding import Decoder

        questions = desk.journal.questions
        prompts = [self._tokens.of(prompt_of_bytes(desk.bodies(row))) for row in range(len(questions.digests))]
        decoder = Decoder(self._folder, self._model, sampling)
        lengths = np.array([len(p) for p in prompts], np.int64)
        for batch in self.batches(lengths, questions.digests, questions.samples, decoder.room(0)):
            missing = [int(q) for q in batch if desk.journal.places[q] < 0]
            asked, capped = self._sendable(desk, missing, lengths, decoder)
            if asked:
                rows = [q.number // questions.samples for q in asked]
                answers = decoder.answers([prompts[row] for row in rows], rows, [q.seed for q in asked], self._tokens, desk.progress)
                desk.answer_all(list(zip(asked, answers, strict=True)))
            desk.progress()
            if capped:
                raise CapReached

    def _sendable(self, desk: Desk, missing: list[int], lengths: np.ndarray, decoder: Any) -> tuple[list[Question], bool]:
        """The questions of a batch that may be sent, and whether a cap forbids the rest; those whose prompt is too long have failed."""
        asked: list[Question] = []
        for number in missing:
            question = desk.question(number)
            if not desk.spending.allows(question.characters):
                return asked, True
            desk.send(question)
            if decoder.room(int(lengths[number // desk.journal.questions.samples])) < 1:
                desk.fail(question, TOO_LONG)
                continue
            asked.append(question)
        return asked, False

    def batches(self, lengths: np.ndarray, digests: Any, samples: int, longest: int) -> Iterator[np.ndarray]:
        """Numbers of questions, batch by batch: the longest prompts first, so that a lack of memory shows at once."""
        order = sorted(range(len(lengths)), key=lambda row: (-int(lengths[row]), digests[row], row))
        numbers = (np.array(order, np.int64)[:, None] * samples + np.arange(samples)).reshape(-1)
        start = 0
        while start < len(numbers):
            width = int(lengths[numbers[start] // samples]) + longest
            rows = max(1, min(self._model.batch_rows, self._model.batch_tokens // max(1, width)))
            if rows > samples:
                rows -= rows % samples  # whole prompts: their work is done once
            yield numbers[start : start + rows]
            start += rows
