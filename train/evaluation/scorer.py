"""Log-likelihoods under a loaded model: of continuations after contexts, and of whole documents by sliding windows.

Encoding and truncation are those of lm-eval 0.4.13 (api/model.py and models/huggingface.py): blanks at the end of a context move to the
continuation, both are encoded together and cut where the context's own tokens end, and what is too long loses its beginning.
Nothing is packed: a row of a batch is one sequence, padded on the right, where a causal model can't see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from train.evaluation.items import delimiter

LOGIT_BYTES = 1 << 30  # of one batch, in float32
Tell = Callable[[int], None]  # items done since the last call


class Likelihood(NamedTuple):
    """Of one continuation."""

    logprob: float  # natural logarithm, summed over its tokens
    tokens: int
    greedy: bool  # each token was the likeliest one


class Surprise(NamedTuple):
    """Of one document."""

    nats: float
    tokens: int
    bytes: int


class Scorer:
    """A model and its tokenizer, ready to be asked. The model is put into evaluation mode while it is asked, and back."""

    def __init__(self, model: PreTrainedModel, tokenizer: Any, batch_tokens: int = 16_384, max_length: int | None = None) -> None:
        """tokenizer: of transformers. max_length: tokens of the longest sequence; the model's own where it is None."""
        self.model, self.tokenizer = model, tokenizer
        own = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
        self.max_length = min(own, max_length or own)
        self._vocabulary = model.get_input_embeddings().weight.shape[0]
        self._batch_tokens = max(1, min(batch_tokens, LOGIT_BYTES // 4 // self._vocabulary))
        ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, model.config.get_text_config().eos_token_id)
        known = next((i for i in ids if i is not None), None)
        self.prefix: int | None = known[0] if isinstance(known, list) else known  # stands before text that has nothing before it

    def encode(self, text: str) -> list[int]:
        """Ids without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of both, cut as lm-eval cuts them. The context is the prefix token where it is empty."""
        if not context:
            return [] if self.prefix is None else [self.prefix], self.encode(continuation)
        blanks = len(context) - len(context.rstrip())
        if blanks:
            continuation, context = context[-blanks:] + continuation, context[:-blanks]
        if not context:
            return [] if self.prefix is None else [self.prefix], self.encode(continuation)
        before = self.encode(context)
        return before, self.encode(context + continuation)[len(before) :]

    def continuations(self, pairs: Sequence[tuple[str, str]], tell: Tell | None = None) -> list[Likelihood]:
        """The likelihood of each (context, continuation); a blank is set between them where there is no white space."""
        encoded = [self.pair(c, delimiter(c, a) + a) for c, a in pairs]
        rows: dict[tuple[int, ...], list[int]] = {}
        for number, (before, after) in enumerate(encoded):
            # Continuations of one token after one context need one row: all but the last token are the same.
            rows.setdefault(tuple((before + after)[-(self.max_length + 1) :][:-1]), []).append(number)
        found = [Likelihood(0.0, 0, True)] * len(pairs)
        for batch in self._batches([row for row in rows if row]):
            logits = self._logits(batch)
            for row, one in zip(batch, logits, strict=True):
                for number in rows[row]:
                    found[number] = _of_continuation(one[: len(row)], encoded[number][1])
                if tell is not None:
                    tell(len(rows[row]))
        return found

    def documents(self, texts: Sequence[str], stride: int | None = None, tell: Tell | None = None) -> list[Surprise]:
        """How surprised the model is by each text, token by token, each seen with the tokens before it in a window of max_length.

        stride: tokens scored by each window but the first, which scores all of its own; half a window where it is None. Without a token to
        stand before the text its first token counts as one of the vocabulary, all equally likely.
        """
        step = min(stride or max(1, self.max_length // 2), self.max_length)
        nats = [0.0] * len(texts)
        windows: dict[tuple[int, int], tuple[tuple[int, ...], int]] = {}
        counts = []
        for number, text in enumerate(texts):
            ids = self.encode(text)
            counts.append(len(ids))
            if self.prefix is None and ids:
                nats[number] = math.log(self._vocabulary)
            whole = ids if self.prefix is None else [self.prefix, *ids]
            for place, (window, scored) in enumerate(_windows(whole, self.max_length, step)):
                windows[number, place] = window, scored
        sums: dict[tuple[int, int], float] = {}
        by_row: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for key, (window, _) in windows.items():
            by_row.setdefault(window[:-1], []).append(key)
        for batch in self._batches(list(by_row)):
            for row, one in zip(batch, self._logits(batch), strict=True):
                for key in by_row[row]:
                    window, scored = windows[key]
                    sums[key] = -_of_continuation(one[: len(row)], list(window[len(window) - scored :])).logprob
                if tell is not None:
                    tell(sum(place == 0 for _, place in by_row[row]))
        for number, place in sorted(sums):
            nats[number] += sums[number, place]
        return [Surprise(n, c, len(t.encode())) for n, c, t in zip(nats, counts, texts, strict=True)]

    def _batches(self, rows: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        """Rows, the longest first, so that a lack of memory shows at once; a function of the rows alone."""
        waiting = sorted(rows, key=lambda row: (-len(row), row))
        start = 0
        while start < len(waiting):
            size = max(1, self._batch_tokens // len(waiting[start]))
            yield waiting[start : start + size]
            start += size

    def _logits(self, rows: list[tuple[int, ...]]) -> torch.Tensor:
        """f32[rows, longest, vocabulary]: log-probabilities of the next token."""
        longest = len(rows[0])
        device = next(self.model.parameters()).device
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                logits = self.model(input_ids=ids.to(device), use_cache=False).logits
                found: torch.Tensor = torch.log_softmax(logits.float(), dim=-1)
        finally:
            self.model.train(training)
        return found


def _of_continuation(logprobs: torch.Tensor, ids: list[int]) -> Likelihood:
    """logprobs: f32[tokens, vocabulary], of what follows each token of the row; the continuation is what follows the last ones."""
    ids = ids[-len(logprobs) :]  # a continuation longer than the window: its end
    if not ids:
        return Likelihood(0.0, 0, True)
    wanted = torch.tensor(ids, device=logprobs.device)
    own = logprobs[-len(ids) :]
    chosen = own.gather(1, wanted[:, None]).double().sum()
    return Likelihood(float(chosen), len(ids), bool((own.argmax(-1) == wanted).all()))


def _windows(ids: list[int], length: int, stride: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """(tokens of a window with the one after it, how many of its last tokens are scored): every token but the first is scored once."""
    end = min(len(ids), length + 1)
    if end < 2:
        return
    yield tuple(ids[:end]), end - 1
    while end < len(ids):
        scored = min(stride, len(ids) - end)
        end += scored
        yield tuple(ids[max(0, end - length - 1) : end]), scored
