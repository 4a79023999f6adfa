"""A tokenizer with its chat template: read from a model's folder, a tokenizer.json, or a transformers tokenizer.

Rows are encoded without the tokenizer's own special tokens: the template writes them. Spelled-out special tokens in a
message are refused by default; with `special_text: escape` they are encoded as ordinary text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import DataError, RecipeError
from formats.templates.jinja import CLOSE, OPEN, Template
from formats.templates.named import NAMED, named
from formats.templates.pieces import Pieces, open_pieces

_SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_UNKNOWN = object()
_HELD = ("\ufdd2", "\ufdd3")  # around special tokens in messages while they are rendered


class ChatTokenizer:
    """A tokenizer (`tokenizers.Tokenizer`) and a template.

    special: spelling of bos_token, eos_token and so on; stop: spelling of the token that ends an answer, None: found by rendering;
    literals: other texts that no message may hold.
    """

    def __init__(
        self, tokenizer: Any, template: Template | None, special: dict[str, str], stop: str | None = None, literals: Sequence[str] = ()
    ) -> None:
        from tokenizers import Tokenizer, processors

        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.own_ids: list[int] = self.tokenizer.encode("", add_special_tokens=True).ids  # what it puts around a text by itself
        # It adds nothing here, and some trim blanks from offsets, so that a token seems to begin after the place where it does.
        self.tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
        self.given_template, self.special, self.stop, self.literals = template, special, stop, tuple(literals)
        self.added: dict[str, int] = {t.content: i for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}
        self.forbidden = _pattern([*self.added, *literals, OPEN, CLOSE, *_HELD])
        self._escaping: Any = None
        self._pieces: Any = _UNKNOWN

    @property
    def template(self) -> Template:
        """Its template. Raises RecipeError where it has none."""
        if self.given_template is None:
            raise RecipeError(f"the tokenizer has no chat template. Give one: template: {', '.join(NAMED)}, or a .jinja file.")
        return self.given_template

    def names(self) -> dict[str, Any]:
        """Variables that the template may use."""
        return dict(self.special)

    def pieces(self) -> Pieces | None:
        """The fast encoder, opened and probed at the first call; None where the tokenizer has none."""
        if self._pieces is _UNKNOWN:
            self._pieces = open_pieces(self.tokenizer)
        found: Pieces | None = self._pieces
        return found

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Encodings with offsets in code points, one per text."""
        found: list[Any] = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return found

    def hold(self, text: str) -> str:
        """Text of a message with its special tokens between marks, for `encode_held`."""
        return _pattern(list(self.added)).sub(lambda m: f"{_HELD[0]}{m[0]}{_HELD[1]}", text)

    def encode_held(self, text: str) -> tuple[list[int], list[tuple[int, int]], str]:
        """(ids, offsets, text without marks) of a rendered text in which held tokens become ordinary text.

        Pieces between marks are encoded apart: no token reaches over the end of one.
        """
        from tokenizers import Tokenizer

        if self._escaping is None:
            self._escaping = Tokenizer.from_str(self.tokenizer.to_str())
            self._escaping.encode_special_tokens = True
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        at = 0
        for number, piece in enumerate(re.split(f"[{_HELD[0]}{_HELD[1]}]", text)):
            made = (self._escaping if number % 2 else self.tokenizer).encode(piece, add_special_tokens=False)
            ids += made.ids
            offsets += [(a + at, b + at) for a, b in made.offsets]
            at += len(piece)
        return ids, offsets, re.sub(f"[{_HELD[0]}{_HELD[1]}]", "", text)


def load(path: str, template: str | None = None, stop: str | None = None, date: str | None = None) -> ChatTokenizer:
    """A tokenizer from a folder with tokenizer.json (and tokenizer_config.json, chat_template.jinja), or from a tokenizer.json alone.

    template: one of ours by name, or a .jinja file; None: the folder's, of which chat_template.jinja wins, as in transformers.
    Raises RecipeError for what is missing.
    """
    from tokenizers import Tokenizer

    given = Path(path)
    file = given / "tokenizer.json" if given.is_dir() else given
    if not file.is_file():
        raise RecipeError(f"{path}: no tokenizer.json there. Give the folder of a model or tokenizer, or the file itself.")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises Exception itself
        raise DataError(f"{file} is not a tokenizer that the `tokenizers` library can read: {error}.") from error
    config = _json(file.parent / "tokenizer_config.json")
    special = {name: text for name in _SPECIAL_NAMES if (text := _spelling(config.get(name))) is not None}
    return make(tokenizer, special, template, _own_template(file.parent, config), stop, date)


def from_transformers(tokenizer: Any, template: str | None = None, stop: str | None = None, date: str | None = None) -> ChatTokenizer:
    """The same from a fast tokenizer of transformers that is loaded already."""
    special = {k: str(v) for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    return make(tokenizer.backend_tokenizer, special, template, tokenizer.chat_template, stop, date)


def make(
    tokenizer: Any, special: dict[str, str], template: str | None, own: str | None, stop: str | None = None, date: str | None = None
) -> ChatTokenizer:
    """A ChatTokenizer of its parts. template: a name or a file; own: the text of the tokenizer's own template."""
    if template is None:
        return ChatTokenizer(tokenizer, None if own is None else Template(own, date), special, stop)
    if template.endswith((".jinja", ".jinja2", ".j2")):
        try:
            source = Path(template).read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"template: {template} can't be read: {error.strerror}.") from error
        return ChatTokenizer(tokenizer, Template(source, date), special, stop)
    found = named(template)
    ending = special.get("eos_token") if found.stop == "eos" else found.stop
    if ending is None:
        raise RecipeError(f"the template {template!r} ends an answer with the tokenizer's eos_token, which this tokenizer does not name.")
    return ChatTokenizer(tokenizer, Template(found.source, date), special, stop or ending, found.literals)


def _own_template(folder: Path, config: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        named_ones = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named_ones.get("default")
    return found if isinstance(found, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    return found if isinstance(found, dict) else {}


def _spelling(value: Any) -> str | None:
    """A special token's text: given as text, or as an object with `content`."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _pattern(texts: list[str]) -> re.Pattern[str]:
    """Matches any of the texts, the longest first."""
    return re.compile("|".join(re.escape(t) for t in sorted(set(texts), key=len, reverse=True) if t) or "(?!)")
