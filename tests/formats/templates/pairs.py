"""Small tokenizers made in the test, with good templates and with broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from formats.templates.named import NAMED
from formats.templates.tokenizer import ChatTokenizer, make

TEXT = ["the user asks and the assistant answers with words, Number one by the user."] * 3
IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIAL = {
    "llama3": ("<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "gemma": ("<s>", "</s>", "<start_of_turn>", "<end_of_turn>"),
    "chatml": IM,
    "qwen": IM,
}


def byte_bpe(special: Sequence[str], bos: str | None = None, vocab_size: int = 400) -> Any:
    """A byte-level BPE. bos: what its post-processor puts first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False)
    )
    if bos is not None:
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))])
    return made


def special_of(tokens: Sequence[str]) -> dict[str, str]:
    """bos_token and eos_token as the model would name them."""
    return {"bos_token": "<s>", "eos_token": "</s>"} if "<s>" in tokens else {"eos_token": "<|endoftext|>"}


def named_chat(name: str) -> ChatTokenizer:
    """A tokenizer with one of our templates."""
    tokens = SPECIAL.get(name, ("<s>", "</s>"))
    return make(byte_bpe(tokens), special_of(tokens), name, None)


def own(source: str | None, special: Sequence[str] = IM, bos: str | None = None, **names: str) -> ChatTokenizer:
    """A tokenizer whose own template is `source`."""
    return make(byte_bpe(special, bos), {**special_of(special), **names}, None, source)


# A usual template without generation markers, as most models ship them.
PLAIN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def good() -> dict[str, ChatTokenizer]:
    """Eleven pairs that work: ours, and two with a template of their own."""
    return {**{name: named_chat(name) for name in NAMED}, "plain": own(PLAIN), "marked": own(MARKED)}


def broken() -> dict[str, tuple[str, ChatTokenizer]]:
    """{name: (code of the finding, the pair)}."""
    bos = ("<s>", "</s>", *IM)
    without_stop = PLAIN.replace("m.content + '<|im_end|>\\n'", "m.content + '\\n'")
    return {
        "no template": ("no_template", own(None)),
        "stop is never written": ("no_stop", own(without_stop)),
        "stop is not in the vocabulary": ("no_stop", own(PLAIN, ("<|endoftext|>",))),
        "named template whose stop is in pieces": ("stop_in_pieces", make(byte_bpe(("<s>", "</s>")), special_of(("<s>",)), "chatml", None)),
        "stop outside the markers": ("stop_outside_mask", own(MARKED.replace("m.content + '<|im_end|>' }}{% endgeneration %}", "m.content }}{% endgeneration %}{{ '<|im_end|>' }}"))),
        "markers around nothing": ("mask_empty", own(MARKED.replace("{% generation %}", "{% generation %}{% endgeneration %}", 1).replace("'<|im_end|>' }}{% endgeneration %}{% else", "'<|im_end|>' }}{% else"))),
        "markers around the user": ("mask_unproved", own(MARKED.replace("== 'assistant'", "== 'user'"))),
        "bos for every turn": ("bos_repeated", own("{% for m in messages %}{{ bos_token }}" + PLAIN.removeprefix("{% for m in messages %}"), bos)),
        "bos forgotten": ("bos_missing", own(PLAIN, bos, bos="<s>")),
        "prompt with a thought, history without": ("prompt_not_prefix", own(PLAIN.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}"))),
        "generation prompt ignored": ("no_generation_prompt", own(PLAIN.partition("{% if add_gen")[0])),
        "history rewritten": ("template_rewrites", own(PLAIN.replace("m.content +", "('' if loop.last or m.role == 'user' else 'earlier: ') + m.content +"))),
        "stop before the next turn only": ("no_final_stop", own("{% for m in messages %}{{ ('<|im_end|>\\n' if not loop.first else '') + '<|im_start|>' + m.role + '\\n' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_end|>\\n<|im_start|>assistant\\n' }}{% endif %}")),
        "system turn left out": ("system_lost", own("{% for m in messages if m.role != 'system' %}" + PLAIN.removeprefix("{% for m in messages %}"))),
        "answer left out": ("turn_lost", own(PLAIN.replace("m.content +", "(m.content if m.role == 'user' else '') +"))),
        "date of today": ("depends_on_date", own("{{ strftime_now('%d %b %Y') }}" + PLAIN)),
        "blank at the end of the prompt": ("tokens_merge", own("{% for m in messages %}{{ ('Q: ' if m.role == 'user' else 'A: ') + m.content + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ 'A: ' }}{% endif %}")),
    }  # fmt: skip
