"""Which numbers of a step have which bound: what the step itself says, and this table for those that say nothing.

The table is for steps whose numbers are named in one place and bounded in another; a step's own `signals()` goes before it.
"""

from __future__ import annotations

from typing import Literal

from curate.step import Signal, Step

_LOW: Literal["at_least"] = "at_least"
_HIGH: Literal["at_most"] = "at_most"

_GOPHER = (
    Signal("gopher_words", "min_words", _LOW),
    Signal("gopher_words", "max_words", _HIGH),
    Signal("gopher_mean_word_length", "min_mean_word_length", _LOW),
    Signal("gopher_mean_word_length", "max_mean_word_length", _HIGH),
    Signal("gopher_hashes_per_word", "max_hashes_per_word", _HIGH),
    Signal("gopher_ellipses_per_word", "max_ellipses_per_word", _HIGH),
    Signal("gopher_bullet_line_fraction", "max_bullet_lines", _HIGH),
    Signal("gopher_ellipsis_line_fraction", "max_ellipsis_lines", _HIGH),
    Signal("gopher_letter_word_fraction", "min_words_with_letters", _LOW),
    Signal("gopher_stop_words", "min_stop_words", _LOW),
)
_SHARES = (
    "duplicate_paragraph_fraction", "duplicate_paragraph_char_fraction", "duplicate_line_fraction", "duplicate_line_char_fraction",
    *(f"top_{n}gram_fraction" for n in (2, 3, 4)), *(f"duplicate_{n}gram_fraction" for n in range(5, 11)),
)  # fmt: skip

_TABLE: dict[str, tuple[Signal, ...]] = {
    "gopher_quality": _GOPHER,
    "gopher_repetition": tuple(Signal(f"gopher_{share}", f"max_{share}", _HIGH) for share in _SHARES),
    "fineweb": (
        Signal("fineweb_terminal_punctuation_fraction", "min_terminal_punctuation", _LOW),
        Signal("fineweb_short_line_fraction", "max_short_lines", _HIGH),
        Signal("fineweb_duplicate_line_char_fraction", "max_duplicate_line_chars", _HIGH),
        Signal("fineweb_newlines_per_word", "max_newlines_per_word", _HIGH),
    ),
    "c4": (Signal("c4_sentences", "min_sentences", _LOW),),
    "language": (Signal("lang_score", "min_score", _LOW),),
}


def signals_of(step: Step) -> tuple[Signal, ...]:
    """The bounded numbers of a step, of those that it adds with these settings."""
    said = step.signals() or _TABLE.get(step.name, ())
    there = step.adds()
    return tuple(signal for signal in said if signal.column in there and signal.setting in type(step).model_fields)
