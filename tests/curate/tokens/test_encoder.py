"""The encoder: ids of the tokenizers library for every kind of tokenizer, and no special token out of text."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from curate.errors import RecipeError, StepError
from curate.tokens import encoder as module
from curate.tokens import proven
from curate.tokens.encoder import Encoder
from curate.tokens.libraries import Fast
from curate.tokens.probe import probe_texts
from curate.tokens.tiktoken_file import CL100K
from curate.tokens.vocabulary import load_vocabulary, plain_config
from tests.curate.tokens.small import EOS, HOSTILE, KINDS, TEXTS, byte_bpe, byte_fallback


@pytest.fixture(autouse=True)
def nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what the probe finds out of the user's cache, and what is there out of the tests."""
    monkeypatch.setattr(proven, "cache_folder", lambda: tmp_path / "cache" / "kernels")
    return tmp_path / "cache" / "encoders"


def encode(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, ends = encoder.encode(pa.array(texts, pa.large_string()))
    return [ids[a:b].tolist() for a, b in pairwise(ends)]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_tokenizers(kind: str, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path / "tokenizer.json")
    library = Tokenizer.from_file(str(path))
    specials = set(load_vocabulary(str(path)).special)
    texts = [t for t in [*TEXTS, *HOSTILE, *probe_texts([], ["fox"], 300)] if not any(s in t for s in specials)]
    expected = [e.ids for e in library.encode_batch_fast(texts, add_special_tokens=False)]
    assert encode(Encoder(load_vocabulary(str(path)), check_one_in=1), texts) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_spelt_special_tokens_are_text(kind: str, tmp_path: Path) -> None:
    vocabulary = load_vocabulary(str(KINDS[kind](tmp_path / "tokenizer.json")))
    unknown = {vocabulary.special[t] for t in ("<unk>", "[UNK]") if t in vocabulary.special}
    texts = [*HOSTILE, *(f"{a}{t}{b}" for t in vocabulary.special for a in ("", " ", "x") for b in ("", " ", "x"))]
    made = {number for row in encode(Encoder(vocabulary), texts) for number in row}
    assert made
    assert not made & (set(vocabulary.special.values()) - unknown)


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_byte_bpe_spells_special_tokens_as_the_switch_of_tokenizers_does(ignore_merges: bool, tmp_path: Path) -> None:
    path = byte_bpe(tmp_path / "tokenizer.json", ignore_merges)
    library = Tokenizer.from_file(str(path))
    library.encode_special_tokens = True
    texts = [*HOSTILE, *probe_texts([EOS, "<pad>", "<|im_start|>"], ["fox", "dogs,"], 500)]
    encoder = Encoder(load_vocabulary(str(path)))
    assert encoder.library == "gigatoken"
    assert encode(encoder, texts) == [e.ids for e in library.encode_batch_fast(texts, add_special_tokens=False)]
    assert library.decode(encode(encoder, [f"a{EOS}b"])[0], skip_special_tokens=False) == f"a{EOS}b"


def test_a_vocabulary_that_holds_the_special_token_does_not_give_it(tmp_path: Path) -> None:
    """With `ignore_merges` and no split, the switch of the tokenizers library alone would."""
    path = byte_bpe(tmp_path / "tokenizer.json", True, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    library = Tokenizer.from_file(str(path))
    library.encode_special_tokens = True
    assert library.encode(EOS, add_special_tokens=False).ids == [0]
    vocabulary = load_vocabulary(str(path))
    for engine in ("auto", "tokenizers"):
        (ids,) = encode(Encoder(vocabulary, engine), [EOS])
        assert 0 not in ids
        assert library.decode(ids, skip_special_tokens=False) == EOS


def test_engines(tmp_path: Path) -> None:
    libraries = {kind: Encoder(load_vocabulary(str(make(tmp_path / f"{kind}.json")))).library for kind, make in KINDS.items()}
    assert libraries == {
        "byte_bpe": "gigatoken",
        "unigram": "tokenizers",
        "wordpiece": "tokenizers",
        "byte_fallback": "gigatoken",
    }
    vocabulary = load_vocabulary(str(tmp_path / "byte_bpe.json"))
    assert Encoder(vocabulary, "tokenizers").library == "tokenizers"


@pytest.mark.parametrize(
    ("name", "library", "refused"),
    [
        ("prefix", "gigatoken", ""),
        ("nfc", "gigatoken", ""),
        ("added", "gigatoken", ""),
        ("cl100k", "gigatoken", ""),
        ("no_split", "tokenizers", "other ids for"),  # loaded by gigatoken, and wrong: the probe sees it
        ("single_word", "tokenizers", "other ids for"),
        ("dropout", "gigatoken", ""),  # ids that are not random: without it
        ("lower", "tokenizers", "Unsupported normalizer"),
        ("digits", "tokenizers", "Unsupported pre_tokenizer"),
    ],
)
def test_what_the_fast_encoder_gets_wrong_is_refused(name: str, library: str, refused: str, tmp_path: Path) -> None:
    made = Tokenizer.from_file(str(byte_bpe(tmp_path / "tokenizer.json")))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = {
        "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
        "no_split": byte_level,
        "cl100k": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CL100K), "isolated"), byte_level]),
        "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level]),
    }
    made.pre_tokenizer = split.get(name, made.pre_tokenizer)
    if name in ("nfc", "lower"):
        made.normalizer = normalizers.NFC() if name == "nfc" else normalizers.Lowercase()
    if name in ("added", "single_word"):
        made.add_tokens(
            [AddedToken("lazy", single_word=name == "single_word"), AddedToken("jumps", lstrip=True), AddedToken("over", rstrip=True)]
        )
    made.model.dropout = 0.5 if name == "dropout" else None
    made.save(str(tmp_path / "tokenizer.json"))
    made.model.dropout = None
    encoder = Encoder(load_vocabulary(str(tmp_path / "tokenizer.json")))
    assert encoder.library == library
    assert encoder.refused.startswith(refused)
    texts = [*TEXTS, "lazylazy xlazy lazy. over  over jumps  jumps 12 \u00e9 e\u0301 \n "]
    made.encode_special_tokens = True
    assert encode(encoder, texts) == [e.ids for e in made.encode_batch_fast(texts, add_special_tokens=False)]


@given(st.lists(st.text(max_size=60), max_size=8), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_text(both: tuple[Encoder, Encoder], texts: list[str], joined: bool) -> None:
    texts = [EOS.join(texts)] if joined else texts
    assert encode(both[0], texts) == encode(both[1], texts)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Encoder]:
    vocabulary = load_vocabulary(str(byte_bpe(tmp_path_factory.mktemp("t") / "tokenizer.json")))
    return Encoder(vocabulary, check_one_in=10**9), Encoder(vocabulary, "tokenizers")


def test_slices_nulls_and_read_only_buffers(both: tuple[Encoder, Encoder]) -> None:
    whole = pa.array([*TEXTS[:5], None, "", *TEXTS[5:9]], pa.large_string())
    expected = encode(both[1], [t or "" for t in whole.to_pylist()])
    for start, stop in ((0, 11), (3, 7), (5, 6), (4, 4), (10, 11)):
        ids, ends = both[0].encode(whole.slice(start, stop - start))
        assert [ids[a:b].tolist() for a, b in pairwise(ends)] == expected[start:stop]
        assert ends[0] == 0


def test_a_difference_found_by_the_probe_leaves_the_fast_encoder_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = load_vocabulary(str(byte_bpe(tmp_path / "tokenizer.json")))
    good = Fast.encode

    def wrong(self: Fast, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids, ends = good(self, data, offsets)
        ids = ids.copy()
        ids[-1] += 1
        return ids, ends

    monkeypatch.setattr(Fast, "encode", wrong)
    encoder = Encoder(vocabulary)
    assert encoder.library == "tokenizers"
    assert encoder.refused.startswith("other ids for")
    monkeypatch.undo()
    assert not list(tmp_path.glob("cache/encoders/*"))


def test_the_probe_is_made_once_for_a_tokenizer(tmp_path: Path, nothing_is_known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = load_vocabulary(str(byte_bpe(tmp_path / "tokenizer.json")))
    encoded: list[int] = []
    good = Fast.encode

    def counted(self: Fast, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        encoded.append(len(offsets) - 1)
        return good(self, data, offsets)

    monkeypatch.setattr(Fast, "encode", counted)
    assert [Encoder(vocabulary).library for _ in range(3)] == ["gigatoken"] * 3
    assert len(encoded) == 1
    (mark,) = nothing_is_known.iterdir()
    monkeypatch.setattr(proven, "version", lambda name: "0.0.0")
    assert Encoder(vocabulary).library == "gigatoken"
    assert len(encoded) == 2
    assert len(list(nothing_is_known.iterdir())) == 2
    assert proven.mark_of(["a", "b"], "c", "d") != proven.mark_of(["ab"], "c", "d") != proven.mark_of(["ab"], "cd", "")
    assert mark.read_bytes() == b""


def test_a_cache_that_cannot_be_written_costs_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(proven, "cache_folder", lambda: tmp_path / "file" / "kernels")
    vocabulary = load_vocabulary(str(byte_bpe(tmp_path / "tokenizer.json")))
    assert [Encoder(vocabulary).library for _ in range(2)] == ["gigatoken"] * 2


def test_a_difference_found_in_the_run_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(load_vocabulary(str(byte_bpe(tmp_path / "tokenizer.json"))), check_one_in=1)
    good = Fast.encode

    def wrong(self: Fast, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids, ends = good(self, data, offsets)
        ids = ids.copy()
        ids[3] ^= 1
        return ids, ends

    monkeypatch.setattr(Fast, "encode", wrong)
    with pytest.raises(StepError, match=r"differently: near '.*quick.*engine: tokenizers"):
        encoder.encode(pa.array(TEXTS[:2], pa.large_string()))


def test_checked_documents_are_the_same_for_any_split() -> None:
    from curate.kernels.strings import views

    texts = pa.array([*TEXTS, "", None], pa.large_string())
    whole = module._drawn(*views(texts), 4).tolist()
    assert 5 < sum(whole) < 60
    assert [b for i in range(0, 102, 7) for b in module._drawn(*views(texts.slice(i, 7)), 4).tolist()] == whole


def test_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    vocabulary = load_vocabulary(str(byte_bpe(tmp_path / "tokenizer.json")))
    library = Tokenizer.from_str(json.dumps(plain_config(vocabulary)))
    assert library.token_to_id("fox") == vocabulary.ids["fox"] == 400
    assert library.token_to_id("dogs,") == vocabulary.ids["dogs,"] == 402
    assert vocabulary.size == 403


def test_truncation_and_templates_of_the_file_do_not_apply(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    path = byte_bpe(tmp_path / "tokenizer.json")
    plain = encode(Encoder(load_vocabulary(str(path))), TEXTS[:3])
    library = Tokenizer.from_file(str(path))
    library.enable_truncation(4)
    library.enable_padding(length=100)
    library.post_processor = TemplateProcessing(single=f"{EOS} $A", special_tokens=[(EOS, 0)])
    library.save(str(path))
    assert encode(Encoder(load_vocabulary(str(path))), TEXTS[:3]) == plain


def test_long_single_pieces(both: tuple[Encoder, Encoder], tmp_path: Path) -> None:
    for piece in ("a" * 1_000_000, "\n" * 500_000, "中" * 300_000):
        ids, _ = both[0].encode(pa.array([piece], pa.large_string()))
        assert len(ids) > 0
    assert (
        Encoder(load_vocabulary(str(byte_fallback(tmp_path / "f.json")))).encode(pa.array(["中" * 10_000], pa.large_string()))[0].size
        == 30_000 + 1
    )


def test_not_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RecipeError, match=r"tokenizer\.json of the tokenizers library"):
        load_vocabulary(str(tmp_path / "tokenizer.json"))
