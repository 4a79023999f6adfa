"""A decoding loop of our own over transformers' models: every answer draws from its own seed.

`model.generate` has one random generator for a batch, so an answer would depend on its neighbours. Here token t of an answer is the inverse
of the cumulative distribution at u(seed, t), a hash. Prompts that are asked several times are read once, their cache is copied; answers that have ended leave
the batch when a quarter has. Its speed is in docs/generation.md; vLLM is the engine for large models on a GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.errors import RecipeError
from formats.generation.backend import Sampling
from formats.generation.journal import Answer
from formats.generation.models import LocalModel

COMPACT_AT = 0.25  # share of answers that ended before the others are moved together
TELL_EVERY = 64  # tokens
STOP_TAIL = 32  # tokens that are decoded to look for a stop text


def uniforms(seeds: npt.NDArray[np.int64], place: int) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each seed and place: splitmix64 of both (Steele et al. 2014); wraps around in 64 bits by design."""
    x = (seeds.astype(np.uint64) << np.uint64(32)) + np.uint64(place) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2.0**53


class Decoder:
    """A loaded model and how its answers are drawn."""

    def __init__(self, folder: str, model: LocalModel, sampling: Sampling) -> None:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._torch = torch
        if model.device == "cuda" and not torch.cuda.is_available():
            raise RecipeError("model.device is cuda, and torch sees no GPU. Give auto or cpu.")
        self._device = "cuda" if model.device != "cpu" and torch.cuda.is_available() else "cpu"
        kind = model.dtype if model.dtype != "auto" else "bfloat16" if self._device == "cuda" else "float32"
        try:
            network = AutoModelForCausalLM.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=getattr(torch, kind)
            )
        except (OSError, ValueError) as error:
            raise RecipeError(f"model: {folder} can't be loaded: {str(error).splitlines()[0]}") from error
        self._network = network.to(self._device).eval()
        own = network.generation_config
        ends = own.eos_token_id if own.eos_token_id is not None else network.config.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())
        self._context = model.max_context or getattr(network.config.get_text_config(), "max_position_embeddings", None)
        self._s, self._max_tokens = sampling, sampling.max_tokens
        given = (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p)
        drawn = bool(own.do_sample)
        defaults = (
            own.temperature if drawn else None,
            own.top_p if drawn else None,
            own.top_k if drawn else None,
            own.min_p if drawn else None,
        )
        self._temperature, self._top_p, self._top_k, self._min_p = (g if g is not None else d for g, d in zip(given, defaults, strict=True))
        if self._temperature is None:
            self._temperature = 1.0
        self._counting = any(x is not None for x in (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty))
        accepted = inspect.signature(network.forward).parameters
        self._positions, self._last_only = "position_ids" in accepted, "logits_to_keep" in accepted

    def room(self, prompt: int) -> int:
        """Most tokens of an answer to a prompt of so many tokens."""
        most = self._max_tokens if self._max_tokens is not None else (self._context or 4096)
        return most if self._context is None else min(most, self._context - prompt)

    def answers(
        self, prompts: Sequence[list[int]], rows: Sequence[int], seeds: Sequence[int], tokens: Any, tell: Callable[[], None]
    ) -> list[Answer]:
        """One answer for each prompt, in order. rows: which prompts are the same one. tokens: `Tokens`, for text and stop texts."""
        with self._torch.inference_mode():
            found = self._decode(prompts, rows, np.array(seeds, np.int64), tokens, tell)
        return [Answer(text, why, len(p), len(ids)) for (ids, text, why), p in zip(found, prompts, strict=True)]

    def _decode(
        self, prompts: Sequence[list[int]], rows: Sequence[int], seeds: npt.NDArray[np.int64], tokens: Any, tell: Callable[[], None]
    ) -> list[tuple[list[int], str, str]]:
        torch = self._torch
        distinct = list(dict.fromkeys(rows))
        place = {row: at for at, row in enumerate(distinct)}
        first = dict(zip(rows, prompts, strict=True))
        index = torch.tensor([place[row] for row in rows], device=self._device)
        cache, logits, mask = self._read([first[row] for row in distinct])
        cache.batch_select_indices(index)
        logits, mask = logits[index], None if mask is None else mask[index]
        alive = np.arange(len(rows))
        counts = self._counts([first[row] for row in rows], logits.shape[-1]) if self._counting else None
        written: list[list[int]] = [[] for _ in rows]
        ended: list[tuple[str, str] | None] = [None] * len(rows)
        longest = max(map(len, prompts))
        for step in range(self.room(longest)):
            chosen = self._draw(logits, seeds[alive], step, counts)
            open_ = np.zeros(len(alive), bool)
            for at, (row, token) in enumerate(zip(alive.tolist(), chosen.tolist(), strict=True)):
                if ended[row] is None:
                    written[row].append(token)
                    ended[row] = self._end(token, written[row], tokens)
                    open_[at] = ended[row] is None
            if not open_.any():
                break
            if counts is not None:
                counts[1].scatter_add_(1, chosen[:, None], torch.ones_like(chosen[:, None], dtype=counts[1].dtype))
            if open_.mean() <= 1 - COMPACT_AT:
                keep = torch.tensor(np.flatnonzero(open_), device=self._device)
                cache.batch_select_indices(keep)
                alive, chosen = alive[open_], chosen[keep]
                mask = None if mask is None else mask[keep]
                counts = None if counts is None else (counts[0][keep], counts[1][keep])
            cache, logits, mask = self._forward(chosen[:, None], cache, mask, longest + step)
            if step % TELL_EVERY == TELL_EVERY - 1:
                tell()
        return [
            (ids, *(end if end is not None else (tokens.text(ids), "length"))) for ids, end in zip(written, ended, strict=True)
        ]  # fmt: skip

    def _end(self, token: int, ids: list[int], tokens: Any) -> tuple[str, str] | None:
        """(text, finish reason) where the answer has ended with this token."""
        if token in self._ends:
            return tokens.text(ids), "stop"
        if self._s.stop:
            tail = tokens.text(ids[-STOP_TAIL:])
            if any(stop in tail for stop in self._s.stop):
                text = tokens.text(ids)
                cuts = [at for stop in self._s.stop if (at := text.find(stop)) >= 0]
                return text[: min(cuts)] if cuts else text, "stop"
        return None

    def _read(self, prompts: list[list[int]]) -> tuple[Any, Any, Any]:
        """Read prompts, padded on the left: (cache, logits of the next token, mask or None where nothing is padded)."""
        torch = self._torch
        width = max(map(len, prompts))
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for at, prompt in enumerate(prompts):
            ids[at, width - len(prompt) :] = torch.tensor(prompt)
            mask[at, width - len(prompt) :] = 1
        padded = None if bool(mask.all()) else mask.to(self._device)
        more: dict[str, Any] = {"logits_to_keep": 1} if self._last_only else {}
        if padded is not None:
            more["attention_mask"] = padded
            if self._positions:
                more["position_ids"] = (padded.cumsum(1) - 1).clamp(min=0)
        out = self._network(input_ids=ids.to(self._device), use_cache=True, **more)
        return out.past_key_values, out.logits[:, -1].float(), padded

    def _forward(self, chosen: Any, cache: Any, mask: Any, length: int) -> tuple[Any, Any, Any]:
        """One more token for each answer."""
        torch = self._torch
        more: dict[str, Any] = {}
        if mask is not None:
            mask = torch.cat([mask, torch.ones_like(chosen)], 1)
            more["attention_mask"] = mask
            if self._positions:
                more["position_ids"] = mask.sum(1, keepdim=True) - 1
        out = self._network(input_ids=chosen, past_key_values=cache, use_cache=True, **more)
        return out.past_key_values, out.logits[:, -1].float(), mask

    def _counts(self, prompts: list[list[int]], vocabulary: int) -> tuple[Any, Any]:
        """(tokens of the prompt as booleans, how often each was written), for penalties."""
        torch = self._torch
        seen = torch.zeros((len(prompts), vocabulary), dtype=torch.bool, device=self._device)
        for at, prompt in enumerate(prompts):
            seen[at, torch.tensor(sorted(set(prompt)), device=self._device)] = True
        return seen, torch.zeros((len(prompts), vocabulary), dtype=torch.float32, device=self._device)

    def _draw(self, logits: Any, seeds: npt.NDArray[np.int64], step: int, counts: tuple[Any, Any] | None) -> Any:
        """The next token of each answer. logits: f32[B, V]."""
        torch, s = self._torch, self._s
        if counts is not None:
            prompt, written = counts
            if s.repetition_penalty is not None:
                there = prompt | (written > 0)
                logits = torch.where(there, torch.where(logits > 0, logits / s.repetition_penalty, logits * s.repetition_penalty), logits)
            logits = logits - (s.frequency_penalty or 0.0) * written - (s.presence_penalty or 0.0) * (written > 0)
        if self._temperature == 0:
            return logits.argmax(-1)
        logits = logits / self._temperature
        if self._top_k is not None and self._top_k < logits.shape[-1]:
            logits = logits.masked_fill(logits < logits.topk(self._top_k).values[:, -1:], float("-inf"))
        weights = logits.softmax(-1)
        if self._min_p is not None:
            weights = weights.masked_fill(weights < self._min_p * weights.amax(-1, keepdim=True), 0.0)
        if self._top_p is not None and self._top_p < 1:
            ordered, order = weights.sort(stable=True, dim=-1, descending=True)
            before = ordered.cumsum(-1) - ordered
            ordered = ordered.masked_fill(before >= self._top_p * ordered.sum(-1, keepdim=True), 0.0)
            weights = torch.zeros_like(weights).scatter_(-1, order, ordered)
        cumulative = weights.cumsum(-1, dtype=torch.float64)
        target = torch.from_numpy(uniforms(seeds, step)).to(self._device)[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
