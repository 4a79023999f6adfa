"""The recipe loader: grammar, defaults, every mistake at once with its line, overrides, the graph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate import presets
from curate.errors import RecipeError
from curate.recipe import load_recipe
from curate.recipe_nodes import DatasetNode, Recipe, SpecialNode, Write
from curate.recipe_yaml import Problems, parse

pytestmark = pytest.mark.usefixtures("stand_ins")

GOOD = """\
name: web_to_chat
seed: 17
datasets:
  web:
    read: {jsonl: "crawl/*.jsonl", text: content, id: doc_id, columns: {score: float}}
    steps:
      - clean
      - language: {keep: [en], min_score: 0.7, mode: annotate}
      - filter: lang_score > 0.5
      - filter: score > 1
      - dedup_minhash: {bands: 20, checkpoint: true}
      - decontaminate: ["bench/*.jsonl"]
    write: {format: jsonl, file_bytes: 1000000}
    keep_dropped: all
    max_quarantine: 0.5
  docs: {read: {installed_docs: {max_mb: 3}}}
  tokens: {from: web, steps: [{tokenize: tok}]}
  blend: {mix: {stages: [{tokens: 900M, weights: {tokens: 1.0}}]}}
models:
  tok: {train: tokenizer, data: web}
"""
MIN = 'read: {jsonl: "crawl/*.jsonl"}\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write a recipe beside some input files; return its path."""
    for name in ("crawl/a.jsonl", "crawl/b.jsonl", "bench/y.jsonl", "bench/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")

    def to_file(text: str) -> str:
        (tmp_path / "r.yaml").write_text(text)
        return str(tmp_path / "r.yaml")

    return to_file


@pytest.fixture
def mistakes(write: Callable[[str], str], tmp_path: Path) -> Callable[..., list[str]]:
    """Load a wrong recipe; return its messages, with the file's folder cut away."""

    def messages(text: str, *overrides: str, plugins: tuple[str, ...] = ()) -> list[str]:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(RecipeError) as error:
            load_recipe(write(text), overrides, plugins)
        assert sorted(tmp_path.rglob("*")) in (before, sorted([*before, tmp_path / "r.yaml"]))
        assert error.value.exit_code == 2
        return [str(problem).replace(f"{tmp_path}/", "").replace(str(tmp_path), "HERE") for problem in error.value.problems]

    return messages


def dataset(recipe: Recipe, name: str) -> DatasetNode:
    node = recipe.nodes[name]
    assert isinstance(node, DatasetNode)
    return node


def test_whole_grammar(write: Callable[[str], str], tmp_path: Path) -> None:
    recipe = load_recipe(write(GOOD))
    assert (recipe.name, recipe.seed, recipe.folder, recipe.path) == ("web_to_chat", 17, str(tmp_path), str(tmp_path / "r.yaml"))
    assert list(recipe.nodes) == ["web", "docs", "tokens", "blend", "tok"]
    web = dataset(recipe, "web")
    assert web.reader is not None
    assert (web.line, web.upstream, web.step_lines) == (4, None, (7, 8, 9, 10, 11, 12))
    assert (web.reader.paths, web.reader.text, web.reader.id) == (("crawl/*.jsonl",), "content", "doc_id")
    assert [step.name for step in web.steps] == ["clean", "language", "filter", "filter", "dedup_minhash", "decontaminate"]
    assert web.steps[1].model_dump() == {"checkpoint": False, "keep": ("en",), "min_score": 0.7, "mode": "annotate"}
    assert [step.checkpoint for step in web.steps] == [False, False, False, False, True, False]
    assert web.steps[5].model_dump()["against"] == (str(tmp_path / "bench/x.jsonl"), str(tmp_path / "bench/y.jsonl"))
    assert (web.write, web.keep_dropped, web.max_quarantine) == (Write("jsonl", {"file_bytes": 1000000}), "all", 0.5)
    assert dataset(recipe, "docs").reader.model_dump()["max_mb"] == 3  # type: ignore[union-attr]
    tokens = dataset(recipe, "tokens")
    assert (tokens.reader, tokens.upstream, tokens.write) == (None, "web", Write())
    assert (tokens.keep_dropped, tokens.max_quarantine) == ("sample", 0.001)
    blend, tok = recipe.nodes["blend"], recipe.nodes["tok"]
    assert isinstance(blend, SpecialNode) and isinstance(tok, SpecialNode)
    assert (blend.kind, blend.node.model_dump()["stages"][0]["tokens"]) == ("mix", 900_000_000)
    assert (tok.kind, tok.line, tok.node.model_dump()) == ("train:tokenizer", 20, {"data": "web", "vocab_size": 32000})


def test_resolved_holds_every_default_and_no_absolute_path(write: Callable[[str], str], tmp_path: Path) -> None:
    resolved = load_recipe(write(GOOD)).resolved
    assert str(tmp_path) not in json.dumps(resolved)
    dedup, decontaminate = resolved["datasets"]["web"]["steps"][4:]
    assert dedup == {"dedup_minhash": {"checkpoint": True, "bands": 20}}
    assert decontaminate == {"decontaminate": {"against": ["bench/*.jsonl"]}}
    assert resolved["datasets"]["web"]["read"]["jsonl"] == ["crawl/*.jsonl"]
    assert resolved["datasets"]["web"]["read"]["meta"] is True
    assert resolved["datasets"]["tokens"] == {
        "from": "web", "steps": [{"tokenize": {"tokenizer": "tok"}}], "write": {"format": "parquet"},
        "keep_dropped": "sample", "max_quarantine": 0.001,
    }  # fmt: skip
    assert resolved["models"] == {"tok": {"train": "tokenizer", "data": "web", "vocab_size": 32000}}


def test_resolved_is_a_recipe_that_resolves_to_itself(write: Callable[[str], str]) -> None:
    resolved = load_recipe(write(GOOD)).resolved
    assert load_recipe(write(yaml.safe_dump(resolved, sort_keys=False))).resolved == resolved


def test_one_dataset_is_named_after_the_recipe_or_the_file(write: Callable[[str], str], tmp_path: Path) -> None:
    assert list(load_recipe(write(MIN)).nodes) == ["r"]
    recipe = load_recipe(write(f"name: tiny\n{MIN}steps: [clean]\nkeep_dropped: none\n"))
    assert dataset(recipe, "tiny").keep_dropped == "none"
    assert list(load_recipe(write(f"name: tiny\n{MIN}models:\n  tok: {{train: tokenizer, data: tiny}}\n")).nodes) == ["tiny", "tok"]
    (tmp_path / "my crawl.v2.yaml").write_text(MIN)
    assert load_recipe(str(tmp_path / "my crawl.v2.yaml")).name == "my_crawl.v2"


def test_models_may_come_first(write: Callable[[str], str]) -> None:
    text = f"models:\n  tok: {{train: tokenizer, data: a}}\ndatasets:\n  a: {{{MIN.strip()}}}\n"
    assert list(load_recipe(write(text)).nodes) == ["tok", "a"]


def test_text_is_a_reader_and_a_field(write: Callable[[str], str]) -> None:
    first = dataset(load_recipe(write('read: {text: "crawl/*"}')), "r")
    second = dataset(load_recipe(write('read: {text: body, jsonl: ["crawl/*"]}')), "r")
    assert first.reader is not None and second.reader is not None
    assert (first.reader.name, first.reader.paths) == ("text", ("crawl/*",))
    assert (second.reader.name, second.reader.paths, second.reader.text) == ("jsonl", ("crawl/*",), "body")


def test_reader_without_paths_takes_settings_inside_or_beside(write: Callable[[str], str]) -> None:
    for text in ("read: {installed_docs: {max_mb: 4}}", "read: {installed_docs: , max_mb: 4}", "read: {installed_docs: [any], max_mb: 4}"):
        assert dataset(load_recipe(write(text)), "r").reader.model_dump()["max_mb"] == 4  # type: ignore[union-attr]


def test_optional_paths_give_way_to_nodes(write: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "tok.json").write_text("{}")
    (tmp_path / "tok").mkdir()
    text = f"{MIN}steps: [{{tokenize: %s}}]\n"
    assert dataset(load_recipe(write(text % "tok.json")), "r").steps[0].model_dump()["tokenizer"] == str(tmp_path / "tok.json")
    assert dataset(load_recipe(write(text % "gpt2")), "r").steps[0].model_dump()["tokenizer"] == "gpt2"
    assert dataset(load_recipe(write(text % "tok")), "r").steps[0].model_dump()["tokenizer"] == str(tmp_path / "tok")
    recipe = load_recipe(write(GOOD))
    assert dataset(recipe, "tokens").steps[0].model_dump()["tokenizer"] == "tok"


BAD = """\
nmae: x
seed: -1
datasets:
  web:
    read: {jsonl: "nope/*.jsonl", txt: content}
    steps:
      - claen
      - language: {keep: en, min_score: 1.65}
      - dedup_minhash: {bands: 20x, bnads: 3}
      - decontaminate: ["nope.jsonl"]
      - language:
        keep: [en]
      - preset: nonsense
    keep_dropped: some
    write: jsn
    max_quarantine: 5
  a: {from: b}
  b: {from: c, steps: [clean]}
  c: {from: a}
  d: {from: d}
  e: {from: wbe}
  f: {read: {jsonl: crawl}, steps: [{filter: lang_score > 3}]}
  g: {read: {jsonl: crawl}, steps: [{tokenize: gpt2}, clean]}
  h: {read: {jsonl: crawl}, steps: [clean]}
  i: {mix: {stages: [{tokens: 5M, weights: {h: 1.0, h2: 1}}, {weights: {web: x}}]}}
  i2: {mix: {stages: [{tokens: 5M, weights: {h: 1.0, h2: 1}}]}}
  bad name: {}
  j: {form: web}
  k: {from: i2}
  l: {read: {jsnl: x, text: content}}
  m: {read: {jsonl: x}, from: web}
  n: 5
  a: {}
models:
  tok: {train: tokenizer, data: h, vocab_size: 12}
  tok2: {train: tokeniser}
  h: {train: tokenizer}
"""


def test_every_mistake_at_once_in_line_order(mistakes: Callable[..., list[str]]) -> None:
    assert mistakes(BAD) == [
        "r.yaml:1: a recipe has no key 'nmae'. Did you mean 'name'?",
        "r.yaml:2: seed must be an integer in 0..2^63-1, got -1.",
        "r.yaml:5: read jsonl has no setting 'txt'. Did you mean 'text'?",
        "r.yaml:7: unknown step 'claen'. Did you mean 'clean'? `curate steps` lists all 6.",
        "r.yaml:8: steps[1] language.keep must be a list of text, got 'en'.",
        "r.yaml:8: steps[1] language.min_score must be a number above 0 and at most 1, or null, got 1.65.",
        "r.yaml:9: steps[2] dedup_minhash.bands must be an integer in 1..256, got '20x'.",
        "r.yaml:9: steps[2] dedup_minhash has no setting 'bnads'. Did you mean 'bands'?",
        "r.yaml:10: steps[3] decontaminate.against: there is no file or folder 'nope.jsonl' (looked in HERE, the recipe's folder).",
        "r.yaml:11: steps[4] has the keys 'language', 'keep' side by side."
        " Settings of 'language' stand deeper than its name, a further step behind a '- ' of its own.",
        f"r.yaml:13: unknown preset 'nonsense'. There are: {', '.join(presets.names()) or 'none'}.",
        "r.yaml:14: keep_dropped must be one of sample, all, none, got 'some'.",
        "r.yaml:15: write.format must be one of parquet, jsonl, got 'jsn'. Did you mean 'jsonl'?",
        "r.yaml:16: max_quarantine must be a number in 0..1 (share of rows), got 5.",
        "r.yaml:17: these nodes read each other in a circle: a -> b -> c -> a.",
        "r.yaml:20: 'd' reads itself.",
        "r.yaml:21: 'e' reads 'wbe', which is no node of this recipe. Did you mean 'web'?",
        "r.yaml:22: steps[0] filter reads 'lang_score', which no earlier step adds. Add 'language: {mode: annotate}' before it.",
        "r.yaml:23: steps[1] clean reads 'text', which steps[0] tokenize removes. Move it before that step.",
        "r.yaml:25: i (mix).stages[1] needs 'tokens': an integer above 0 (length).",
        "r.yaml:25: i (mix).stages[1].weights.web must be a number, got 'x'.",
        "r.yaml:26: 'i2' reads 'h2', which is no node of this recipe. Did you mean 'h'?",
        "r.yaml:26: 'i2' reads the column 'tokens' of 'h', which has none. Add 'tokenize' to the steps of 'h'.",
        "r.yaml:27: a name in datasets must be letters, digits, '_', '-' and '.', and start with a letter, a digit or '_'; got 'bad name'.",
        "r.yaml:28: the dataset 'j' has no source; it needs one of: read, from, mix. Did you mean 'from'?",
        "r.yaml:29: 'from' needs a dataset of documents; 'i2' is a mix.",
        "r.yaml:30: unknown reader 'jsnl'. Did you mean 'jsonl'? There are: jsonl, text, installed_docs.",
        "r.yaml:31: the dataset 'm' has both 'read' and 'from'; a dataset has one source.",
        "r.yaml:31: read jsonl: there is no file or folder 'x' (looked in HERE, the recipe's folder).",
        "r.yaml:32: the dataset 'n' must be a mapping with 'read' or 'from', got 5.",
        "r.yaml:33: the key 'a' is here twice: first in line 17, again in line 33.",
        "r.yaml:35: tok (train tokenizer).vocab_size must be an integer of at least 256, got 12.",
        "r.yaml:36: unknown kind of training 'tokeniser'. Did you mean 'tokenizer'? There are: tokenizer.",
        "r.yaml:37: the name 'h' is taken already, in line 24; datasets and models share their names.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "r.yaml:1: a recipe is a mapping with 'datasets:'"),
        ("name: x\n", "r.yaml:1: has no dataset"),
        ("name: x@1\n" + MIN, "r.yaml:1: name must be letters"),
        ("seed: yes\n" + MIN, "r.yaml:1: seed must be an integer in 0..2^63-1, got 'yes'."),
        ("seed: true\n" + MIN, "r.yaml:1: seed must be an integer"),
        (MIN + "datasets: {}\n", "r.yaml:2: 'read' at the top makes the recipe one dataset"),
        ("steps: [clean]\n", "r.yaml:1: the dataset 'r' has no source; it needs one of: read, from, mix."),
        ("datasets: [a]\n", "r.yaml:1: datasets must be a mapping of names to nodes, got ['a']."),
        ("models: {m: {kind: x}}\n", "r.yaml:1: the model 'm' must be a mapping with 'train'"),
        ("read: x\n", "r.yaml:1: read must be a mapping such as"),
        ("read: {jsonl: }\n", "r.yaml:1: read jsonl must be a path or a list of paths, got null."),
        ("read: {jsonl: {a: 1}}\n", "r.yaml:1: read jsonl must be a path or a list of paths, got {a: 1}."),
        ("read: {jsonl: a, installed_docs: }\n", "r.yaml:1: read names two readers, 'jsonl' and 'installed_docs'."),
        ("read: {installed_docs: 5}\n", "r.yaml:1: read installed_docs must be a list of names or a mapping of settings, got 5."),
        ("read: {}\n", "r.yaml:1: unknown reader ''."),
        (MIN + "steps: clean\n", "r.yaml:2: steps must be a list (each line starts with '- '), got 'clean'."),
        (MIN + "steps: [5]\n", "r.yaml:2: steps[0] must be the name of a step, or one name with its settings; got 5."),
        (MIN + "steps: [{clean: 5}]\n", "r.yaml:2: steps[0] clean takes its settings by name, got 5. `curate steps clean` lists them."),
        (MIN + "steps: [{filter: {}}]\n", "r.yaml:2: steps[0] filter needs 'expression': text, not empty (SQL)."),
        (MIN + "steps: [{dedup_minhash: {bands: '20'}}]\n", "steps[0] dedup_minhash.bands must be an integer in 1..256, got '20'."),
        (MIN + "steps: [{dedup_minhash: {bands: true}}]\n", "steps[0] dedup_minhash.bands must be an integer in 1..256, got true."),
        (MIN + "steps: [{dedup_minhash: {bands: .inf}}]\n", "steps[0] dedup_minhash: inf is no usable number"),
        (MIN + "steps: [{language: {mode: anotate}}]\n", "steps[0] language.mode must be 'drop' or 'annotate', got 'anotate'."),
        (MIN + "steps: [{preset: x, with: 1}]\n", "r.yaml:2: 'preset' stands alone in its entry, got 'with' beside it."),
        (MIN + "from: x\n", "r.yaml:1: the dataset 'r' has both 'read' and 'from'"),
        ("datasets: {a: {from: [x, y]}}\n", "r.yaml:1: from must be the name of one dataset, got ['x', 'y']."),
        ("datasets: {a: {mix: {stages: []}, steps: []}}\n", "r.yaml:1: the dataset 'a', a mix, has no key 'steps'."),
        (f"datasets: {{a: {{{MIN.strip()}, steps: [{{tokenize: b}}]}}, b: {{{MIN.strip()}}}}}",
         "'a' uses 'b' as a model, but it is a dataset."),
        (f"datasets: {{a: {{{MIN.strip()}, steps: [{{tokenize: t}}]}}}}\nmodels: {{t: {{train: tokenizer, data: a}}}}",
         "in a circle: a -> t -> a."),
        (f"datasets: {{a: {{{MIN.strip()}, steps: [{{tokenize: x}}]}}}}\nmodels: {{t: {{train: tokenizer, data: a}}}}",
         "'t' reads the column 'text' of 'a', which has none."),
        ("read: {jsonl: /none/here.jsonl}\n", "r.yaml:1: read jsonl: there is no file or folder '/none/here.jsonl' (looked in /)."),
        ("read: {jsonl: craw/a.jsonl}\n", "'craw/a.jsonl' (looked in HERE, the recipe's folder). Did you mean 'crawl'?"),
        ("read: {jsonl: crawl/aa.jsonl}\n", "(looked in crawl). Did you mean 'a.jsonl'?"),
    ],
)  # fmt: skip
def test_single_mistakes(mistakes: Callable[..., list[str]], text: str, message: str) -> None:
    found = mistakes(text)
    assert any(message in one for one in found), found


def test_no_file(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(MIN)
    with pytest.raises(RecipeError, match=r"wbe\.yaml: there is no such file\. Did you mean '.*web\.yaml'\?"):
        load_recipe(str(tmp_path / "wbe.yaml"))
    with pytest.raises(RecipeError, match="is a folder; expected a recipe"):
        load_recipe(str(tmp_path))


def test_long_chain_of_datasets(write: Callable[[str], str]) -> None:
    lines = [f"  d0: {{{MIN.strip()}}}"] + [f"  d{i}: {{from: d{i - 1}}}" for i in range(1, 3000)]
    assert len(load_recipe(write("\n".join(["datasets:", *reversed(lines)]))).nodes) == 3000


def override(write: Callable[[str], str], *sets: str, text: str = GOOD) -> dict[str, Any]:
    resolved = load_recipe(write(text), sets).resolved
    return resolved["datasets"]["web"] if text == GOOD else resolved["datasets"]["r"]


def test_overrides_of_steps(write: Callable[[str], str]) -> None:
    steps = override(write, "datasets.web.steps.language.min_score=0.9", "datasets.web.steps.1.keep=[de, fr]")["steps"]
    assert steps[1]["language"] == {"keep": ["de", "fr"], "min_score": 0.9, "mode": "annotate"}
    steps = override(write, "datasets.web.steps.filter.2=lang_score > 0.1", "datasets.web.steps.language.keep.0=no")["steps"]
    assert steps[3] == {"filter": {"expression": "lang_score > 0.1"}}
    assert steps[1]["language"]["keep"] == ["no"]
    assert override(write, "datasets.web.steps.filter.1.expression=score > 2")["steps"][2] == {"filter": {"expression": "score > 2"}}
    assert override(write, "datasets.web.steps.0=dedup_minhash")["steps"][0] == {"dedup_minhash": {"bands": 14}}
    assert override(write, "datasets.web.steps.dedup_minhash={bands: 3}")["steps"][4] == {"dedup_minhash": {"bands": 3}}
    assert override(write, "datasets.web.steps=[clean]")["steps"] == [{"clean": {}}]


def test_overrides_write_out_short_forms(write: Callable[[str], str]) -> None:
    text = MIN + "steps: [language, {language: [en]}]\n"
    assert override(write, "steps.language.1.min_score=0.9", "steps.language.2.min_score=0.8", text=text)["steps"] == [
        {"language": {"keep": [], "min_score": 0.9, "mode": "drop"}},
        {"language": {"keep": ["en"], "min_score": 0.8, "mode": "drop"}},
    ]


def test_overrides_elsewhere(write: Callable[[str], str]) -> None:
    assert override(write, "datasets.web.write=parquet")["write"] == {"format": "parquet"}
    assert override(write, "write.format=jsonl", "keep_dropped=none", text=MIN)["write"] == {"format": "jsonl"}
    assert load_recipe(write(GOOD), ["seed=3", "name=other"]).seed == 3
    assert load_recipe(write(GOOD), ["models.tok.vocab_size=300"]).resolved["models"]["tok"]["vocab_size"] == 300
    assert override(write, "datasets.web.read.jsonl=crawl/a.jsonl")["read"]["jsonl"] == ["crawl/a.jsonl"]
    dotted = f"datasets:\n  a.b: {{{MIN.strip()}}}\n  a: {{{MIN.strip()}}}\n"
    assert load_recipe(write(dotted), ["datasets.a.b.max_quarantine=1"]).resolved["datasets"]["a.b"]["max_quarantine"] == 1.0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("datasets.wbe.steps.clean.x=1", "datasets has no 'wbe'. Did you mean 'web'?"),
        ("datasets.web.steps.langage.x=1", "datasets.web.steps has no step 'langage'. Did you mean 'language'?"),
        ("datasets.web.steps.language.minscore=1", "steps[1] language has no setting 'minscore'. Did you mean 'min_score'?"),
        ("datasets.web.steps.language.min_score=7", "steps[1] language.min_score must be a number above 0 and at most 1, or null, got 7."),
        ("datasets.web.steps.language.2.keep=[]", "datasets.web.steps has 1 of 'language', counted from 1; there is no language.2."),
        ("datasets.web.steps.filter.expression=x", "datasets.web.steps has 2 of 'filter'; say which: filter.1, filter.2."),
        ("datasets.web.steps.17=clean", "datasets.web.steps has 6 entries, counted from 0; there is no 17."),
        ("datasets.web.steps.language.keep.x=1", "is a list; its entries are 0 to 0, not 'x'."),
        ("datasets.web.step.clean=1", "the dataset 'web' has no key 'step'. Did you mean 'steps'?"),
        ("sed=3", "a recipe has no key 'sed'. Did you mean 'seed'?"),
        ("seed.x=3", "seed is 17, which has nothing inside it."),
        ("seed", "must be PATH=VALUE"),
        ("=3", "must be PATH=VALUE"),
        ("a..b=3", "must be PATH=VALUE"),
        ("seed=[", "is not valid YAML"),
        ("seed={a: 1, a: 2}", "the key 'a' is here twice"),
    ],
)
def test_wrong_overrides_name_the_option(mistakes: Callable[..., list[str]], option: str, message: str) -> None:
    found = mistakes(GOOD, option)
    assert any(one.startswith(f"--set {option}: ") and message in one for one in found), found


def test_override_in_a_recipe_of_one_dataset(mistakes: Callable[..., list[str]]) -> None:
    found = mistakes(MIN + "steps: [clean]\n", "datasets.r.steps.clean.x=1")
    assert found == ["--set datasets.r.steps.clean.x=1: this recipe is one dataset; paths start at its keys, such as steps.clean.x"]


@pytest.fixture
def preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two presets, one of which uses the other, and one that uses itself."""
    texts = {"small": "[clean, {language: {keep: [en]}}]", "large": "[{preset: small}, dedup_minhash]", "endless": "[{preset: endless}]",
             "broken": "[{filter: nothing > 1}]"}  # fmt: skip

    def load(name: str) -> presets.Preset:
        return presets.Preset(name, "a summary", "a source", parse(texts[name], Problems("p")).value)

    monkeypatch.setattr(presets, "names", lambda: list(texts))
    monkeypatch.setattr(presets, "load", load)


@pytest.mark.usefixtures("preset")
def test_presets_expand_at_their_line_and_can_be_overridden(write: Callable[[str], str]) -> None:
    text = MIN + "steps:\n  - clean\n  - preset: large\n"
    recipe = load_recipe(write(text), ["steps.language.min_score=0.9", "steps.3.bands=7"])
    assert recipe.resolved["datasets"]["r"]["steps"] == [
        {"clean": {}}, {"clean": {}}, {"language": {"keep": ["en"], "min_score": 0.9, "mode": "drop"}}, {"dedup_minhash": {"bands": 7}},
    ]  # fmt: skip
    assert dataset(recipe, "r").step_lines == (3, 4, 4, 4)


@pytest.mark.usefixtures("preset")
def test_wrong_presets(mistakes: Callable[..., list[str]]) -> None:
    found = mistakes(MIN + "steps:\n  - preset: smal\n  - preset: endless\n  - preset: broken\n")
    assert found == [
        "r.yaml:3: unknown preset 'smal'. Did you mean 'small'? There are: small, large, endless, broken.",
        "r.yaml:4: the preset 'endless' contains itself: endless -> endless.",
        "r.yaml:5: steps[0] filter reads 'nothing', which no earlier step adds. There are: id, text, source, meta.",
    ]


def test_plugins(write: Callable[[str], str], mistakes: Callable[..., list[str]], tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("from curate.plugins import per_document\n\n@per_document('shout')\ndef shout(text):\n    return text.upper()\n")
    recipe = load_recipe(write(MIN + "steps: [shout]\n"), (), [str(plugin)])
    assert recipe.plugins == (str(plugin),)
    assert dataset(recipe, "r").steps[0].name == "shout"
    plugin.write_text("import nothing_of_this_name\n")
    assert mistakes(MIN + "steps: [clena]\n", plugins=(str(plugin), str(tmp_path / "none.py"))) == [
        "r.yaml:2: unknown step 'clena'. Did you mean 'clean'? `curate steps` lists all 6.",
        "mine.py:1: the plugin does not load: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        "none.py: can't read the plugin: no such file or directory.",
    ]


def _ways(value: Any) -> list[tuple[str | int, ...]]:
    """The way to every node of a tree of dicts and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner: list[tuple[str | int, Any]] = list(parts)
    return [(), *((key, *way) for key, part in inner for way in _ways(part))]


def _replaced(value: Any, way: tuple[str | int, ...], new: Any) -> Any:
    """A copy of the tree with the node at the end of the way replaced."""
    if not way:
        return new
    if isinstance(value, dict):
        return {key: _replaced(part, way[1:], new) if key == way[0] else part for key, part in value.items()}
    return [_replaced(part, way[1:], new) if at == way[0] else part for at, part in enumerate(value)]


@pytest.mark.parametrize("new", [None, 5, ["x", 5], {"x": {"y": 1}}])
def test_any_value_anywhere_is_loaded_or_refused(write: Callable[[str], str], new: Any) -> None:
    """Every node of a good recipe is replaced in turn, in the file and by --set; only RecipeError may come out."""
    good = yaml.safe_load(GOOD)
    refused = 0
    for way in _ways(good):
        try:
            load_recipe(write(json.dumps(_replaced(good, way, new))))
        except RecipeError:
            refused += 1
            continue
        if way:
            load_recipe(write(GOOD), [f"{'.'.join(map(str, way))}={json.dumps(new)}"])
    assert refused > 10


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            "{jsonl: out}",
            "write has no setting 'jsonl' for parquet. It takes: group_bytes, file_bytes. The form is named by `write: jsonl`",
        ),
        ("{format: jsonl, group_bytse: 3}", "write has no setting 'group_bytse' for jsonl. Did you mean 'group_bytes'?"),
        ("{file_bytes: 12MB}", "write.file_bytes must be a whole number above 0, got '12MB'."),
        ("{file_bytes: 0}", "write.file_bytes must be a whole number above 0, got 0."),
    ],
)
def test_settings_of_a_writer_that_it_does_not_take(write: Callable[[str], str], given: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(sentence)) as error:
        load_recipe(write(MIN + f"write: {given}\n"))
    assert "r.yaml:2: " in str(error.value)
