"""What is wrong with a tokenizer and its template, said before a run: every problem with the change that removes it.

A probe renders a handful of conversations made for the purpose; it needs no data and takes milliseconds. What it can't see is
what only real rows show: those are checked one by one while they are rendered (`masks.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from curate.errors import CurateError, DataError
from formats.templates.jinja import TemplateFailed, spans
from formats.templates.masks import Masker, NoAnchors, Unproved
from formats.templates.tokenizer import ChatTokenizer


class Problem(NamedTuple):
    """One finding. error: rows would be wrong; otherwise something to know."""

    code: str
    message: str
    fix: str
    error: bool = True

    def __str__(self) -> str:
        return f"{self.code}: {self.message} Fix: {self.fix}"


_FIXES = {
    "no_stop": "end every answer with one special token, and name it with `stop` if the template writes it already",
    "no_final_stop": "write the stop token in the answer's own branch of the template, not before the turn that follows",
    "turn_lost": "write the content of every role in the template, in the order of the turns",
    "no_header": "write a header such as '<|im_start|>assistant' before every answer, and under add_generation_prompt",
    "mask_unproved": "put {% generation %} around the answer and its stop token, and nothing else",
    "stop_outside_mask": "move {% endgeneration %} behind the stop token",
    "template_rewrites": "render with per_answer: true (one row per answer), or use a template that keeps earlier turns as they were",
    "template_refused": "the template must take user and assistant in turn; look at its raise_exception",
}


def probe(chat: ChatTokenizer) -> list[Problem]:
    """Everything found, errors first; [] for a pair that works."""
    return sorted(_problems(chat), key=lambda p: not p.error)


def _problems(chat: ChatTokenizer) -> Iterator[Problem]:
    if chat.given_template is None:
        yield Problem(
            "no_template", "the tokenizer has no chat template.", "give one: `template: chatml`, another known name, or a .jinja file"
        )
        return
    plain = _turns("user", "assistant")
    try:
        text = chat.template.render(plain, **chat.names())
    except TemplateFailed as error:
        yield _refused(error)
        return
    yield from _bos(chat, text)
    yield from _vocabulary(chat, text)
    yield from _system(chat)
    yield from _prompt(chat)
    yield from _history(chat)
    if chat.template.has_markers:
        marked = spans(chat.template.marked(plain, **chat.names()))[1]
        if not any(text[a:b].strip() for a, b in marked):
            yield Problem("mask_empty", "the template has generation markers, but nothing stands between them: no token would be trained.",
                          "write the answer's content and stop token between {% generation %} and {% endgeneration %}")  # fmt: skip
            return
    try:
        masker = Masker(chat)
    except NoAnchors as error:
        yield Problem(error.code, f"{error}.", _FIXES[error.code])
        return
    yield from _stop(chat, masker.anchors.stop)
    for turns in (plain, _turns("user", "assistant", "user", "assistant")):
        try:
            masker.find(turns)
        except Unproved as error:
            yield Problem(error.reason, f"{error}.", _FIXES.get(error.reason, _FIXES["mask_unproved"]))
            return


def _turns(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"Number {n} by the {role}, with words."} for n, role in enumerate(roles)]


def _refused(error: TemplateFailed) -> Problem:
    if "today's date" in str(error):
        return Problem("depends_on_date", "the template writes today's date.", "give a fixed day with `date: 2025-01-31`")
    return Problem("template_refused", f"{error}.", _FIXES["template_refused"])


def _bos(chat: ChatTokenizer, text: str) -> Iterator[Problem]:
    bos = chat.special.get("bos_token")
    if not bos:
        return
    count = len([i for i in chat.encode([text])[0].ids if i == chat.tokenizer.token_to_id(bos)])
    own = chat.tokenizer.token_to_id(bos) in chat.own_ids
    if count > 1:
        yield Problem(
            "bos_repeated",
            f"the template writes {bos!r} {count} times into one conversation.",
            "write bos_token once, before the loop over turns",
        )
    elif count == 0 and own:
        yield Problem("bos_missing", f"the tokenizer begins every text with {bos!r}, the template does not, and rows are encoded as the template writes them.",
                      "begin the template with {{ bos_token }}")  # fmt: skip


def _vocabulary(chat: ChatTokenizer, text: str) -> Iterator[Problem]:
    ids = chat.encode([text])[0].ids
    unknown = chat.special.get("unk_token")
    if unknown is not None and chat.tokenizer.token_to_id(unknown) in ids:
        yield Problem("unknown_tokens", f"the rendered text encodes to {unknown!r}: the vocabulary lacks characters of the template.",
                      "use the template that belongs to this tokenizer, or one with byte fallback")  # fmt: skip
    if not ids:
        yield Problem("no_tokens", "the rendered text encodes to nothing.", "use a tokenizer that was trained on text")


def _system(chat: ChatTokenizer) -> Iterator[Problem]:
    turns = _turns("system", "user", "assistant")
    try:
        text = chat.template.render(turns, **chat.names())
    except TemplateFailed:
        yield Problem(
            "no_system",
            "the template refuses system turns; such rows are dropped by name.",
            "put the system text into the first user turn",
            False,
        )
        return
    if turns[0]["content"] not in text:
        yield Problem(
            "system_lost",
            "the template leaves the system turn out without a word.",
            "write the system turn, or let the template raise_exception for it",
        )


def _prompt(chat: ChatTokenizer) -> Iterator[Problem]:
    turns, names = _turns("user", "assistant"), chat.names()
    try:
        bare, prompt = (chat.template.render(turns[:1], prompt=p, **names) for p in (False, True))
    except TemplateFailed as error:
        yield _refused(error)
        return
    whole = chat.template.render(turns, **names)
    if not whole.startswith(prompt):
        at = next((n for n, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole)))
        yield Problem("prompt_not_prefix", f"the prompt is no prefix of prompt and answer: after {prompt[max(0, at - 20) : at]!r} comes "
                      f"{prompt[at : at + 20]!r} in the one and {whole[at : at + 20]!r} in the other. The model would answer after a text it never saw.",
                      "write the same header under add_generation_prompt as before an answer")  # fmt: skip
        return
    answer_at = whole.find(turns[1]["content"])
    if bare == prompt and answer_at > len(prompt) and whole[len(prompt) : answer_at].strip():
        yield Problem("no_generation_prompt", f"the template ignores add_generation_prompt: an answer begins with {whole[len(prompt) : answer_at]!r}, "
                      "which the model would have to write itself.", "write the answer's header under {% if add_generation_prompt %}")  # fmt: skip
        return
    ids, all_ids = (e.ids for e in chat.encode([prompt, whole]))
    if all_ids[: len(ids)] != ids:
        yield Problem("tokens_merge", "the last token of the prompt grows together with the answer's first: at inference the model sees other tokens.",
                      "end the prompt with a special token or a line break, and put a blank at the start of the answer instead of the end of the prompt")  # fmt: skip


def _stop(chat: ChatTokenizer, stop: str) -> Iterator[Problem]:
    ids = chat.encode([stop])[0].ids
    if len(ids) != 1:
        yield Problem("stop_in_pieces", f"the stop token {stop!r} is {len(ids)} tokens: nothing ends generation there.",
                      f"add {stop!r} to the tokenizer as a special token and resize the model, or use a template whose stop token it has")  # fmt: skip
        return
    if chat.special.get("pad_token") == stop:
        yield Problem("pad_is_stop", f"{stop!r} is also the padding token: trainers that mask labels by padding id never train it (our labels do).",
                      "give the tokenizer a pad token of its own", False)  # fmt: skip
    if chat.special.get("eos_token") not in (stop, None):
        yield Problem("stop_is_not_eos", f"an answer ends with {stop!r}, but eos_token is {chat.special['eos_token']!r}: generation runs on.",
                      f"set eos_token_id of the generation config to {ids[0]} ({stop!r})", False)  # fmt: skip


def _history(chat: ChatTokenizer) -> Iterator[Problem]:
    turns, names = _turns("user", "assistant", "user", "assistant"), chat.names()
    try:
        texts = [chat.template.render(turns[:n], **names).rstrip() for n in (2, 4)]
    except TemplateFailed as error:
        yield _refused(error)
        return
    if not texts[1].startswith(texts[0]):
        yield Problem(
            "template_rewrites", "an earlier turn is rendered as another text once more turns follow.", _FIXES["template_rewrites"]
        )
    thought = [{**t, "reasoning_content": f"Thought {n}."} if t["role"] == "assistant" else t for n, t in enumerate(turns)]
    try:
        text = chat.template.render(thought, **names)
    except TemplateFailed:
        return
    if "Thought 3." in text and "Thought 1." not in text:
        yield Problem(
            "reasoning_stripped",
            "the template deletes the reasoning of all turns but the last.",
            "render reasoning with per_answer: true",
            False,
        )


def check(chat: ChatTokenizer) -> list[Problem]:
    """Probe, and raise DataError with every error found. Returns what is only to know."""
    found = probe(chat)
    errors = [p for p in found if p.error]
    if errors:
        raise DataError("\n".join(["the tokenizer and its chat template would give wrong rows:", *(f"  {p}" for p in errors)]))
    return found


def probe_or_problem(make: Any) -> list[Problem]:
    """Probe what `make()` loads; a template that can't be compiled is a finding as well."""
    try:
        chat = make()
    except CurateError as error:
        return [Problem("template_error", str(error), "correct the template, or give one of ours by name")]
    return probe(chat)
