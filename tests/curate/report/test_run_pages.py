"""report.html, card.md, why, diff and push of one small run: every figure is the manifest's, and text from data does nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import curate as toolkit
from curate.errors import DataError, RecipeError
from curate.report import card as cards
from curate.report.diff import compare
from curate.report.page import write_report
from curate.report.push import prepare, push
from curate.report.run_folder import RunFolder, open_run
from curate.report.why import add_windows, why
from tests.curate.report.hub_stand_in import hub
from tests.curate.report.run_case import SCRIPT, run_case, write_case


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return open_run(run_case(tmp_path_factory.mktemp("case")))


class Tables(HTMLParser):
    """Cells with exact values of every table: (section, class of the table, first header) -> values."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, str, str, list[float]]] = []
        self.scripts = self.links = 0
        self._section = self._table = self._head = ""
        self._in_head = False
        self._values: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag in ("script", "iframe", "object", "img", "link")
        self.links += any(str(value).startswith(("http:", "https:", "//", "javascript:")) for _, value in attrs)
        self.scripts += any(name.startswith("on") for name, _ in attrs)
        if tag == "section":
            self._section = given.get("data-dataset") or given.get("data-mix") or ""
        elif tag == "table":
            self._table = (given.get("class") or "") + (":" + given["data-reason"] if given.get("data-reason") else "")  # type: ignore[operator]
        elif tag == "tr":
            self._values, self._head = [], ""
        elif tag == "th":
            self._in_head = True
        elif tag == "td" and given.get("data-value") is not None:
            self._values.append(float(str(given["data-value"])))

    def handle_endtag(self, tag: str) -> None:
        self._in_head = self._in_head and tag != "th"
        if tag == "tr" and self._values:
            self.rows.append((self._section, self._table, self._head.strip(), self._values))

    def handle_data(self, data: str) -> None:
        if self._in_head:
            self._head += data

    def of(self, section: str, table: str) -> list[tuple[str, list[float]]]:
        return [(head, values) for s, t, head, values in self.rows if (s, t) == (section, table)]


def tables(run: RunFolder) -> Tables:
    found = Tables()
    found.feed((run.root / "report.html").read_text(encoding="utf-8"))
    return found


def test_the_pages_tables_are_the_manifests_figures(run: RunFolder) -> None:
    page, entry = tables(run), run.datasets["web"]
    funnel = page.of("web", "funnel")
    assert [(head, values) for head, values in funnel] == [
        (line["step"], [line["rows"], line["bytes"], sum(line["dropped"].values())]) for line in entry["funnel"]
    ]
    assert {head: values[0] for head, values in page.of("web", "drops")} == entry["dropped"]
    assert dict(page.of("web", "personal")) == {"email": [1]}
    assert dict(page.of("web", "contamination")) == {"bench.jsonl": [1, 1, 1, 1]}
    assert dict(page.of("web", "quarantine")) == {"not JSON": [1]}
    languages = run.distributions("web")["languages"]
    assert dict(page.of("web", "languages")) == {
        c: [languages["read"].get(c, 0), languages["kept"].get(c, 0)] for c in {*languages["read"], *languages["kept"]}
    }
    assert sum(languages["kept"].values()) == entry["rows_out"]
    mix = run.mixes["order"]["info"]
    assert page.of("order", "mix") == [("web_tokens", [1.0, mix["stages"][0]["realised"]["web_tokens"]])]


def test_distributions_add_up_to_the_drops(run: RunFolder) -> None:
    page, entry = tables(run), run.datasets["web"]
    for bound in run.distributions("web")["bounds"]:
        rows = [values for _, values in page.of("web", f"bins:{bound['reason']}")]
        assert sum(gone for _, gone in rows) == entry["dropped"].get(bound["reason"], 0), bound["reason"]
        line = entry["funnel"][bound["line"] - 1]
        assert 0 < sum(kept + gone for kept, gone in rows) <= line["rows"]
    lengths = run.distributions("web")["lengths"]
    assert sum(b[2] for b in lengths["read"]) == entry["rows_in"] - entry["quarantined"]
    assert sum(b[2] for b in lengths["kept"]) == entry["rows_out"]


def test_text_from_data_is_text(run: RunFolder) -> None:
    page = (run.root / "report.html").read_text(encoding="utf-8")
    found = tables(run)
    assert (found.scripts, found.links) == (0, 0)
    assert SCRIPT not in page
    assert page.count("document.title=") >= 2  # a dropped document and a quarantined row show it, escaped
    assert "default-src 'none'" in page
    assert SCRIPT not in (run.root / "card.md").read_text(encoding="utf-8")


def test_the_report_shows_clusters_tags_matches_and_examples(run: RunFolder) -> None:
    page = (run.root / "report.html").read_text(encoding="utf-8")
    assert "removed by dedup_minhash for" in page
    assert "<del>" in page or "<ins>" in page
    assert "<mark>&lt;EMAIL&gt;</mark>" in page
    assert re.search(r"<mark>how many stones did the engineer[^<]*</mark>", page)
    assert "near the bound" in page
    assert len(page) < 3_000_000


def test_plots_by_the_library(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("curate.report.contents.PLOTS", 3)
    first = write_report(run.root, True, tmp_path / "a.html").read_bytes()
    found = Tables()
    found.feed(first.decode())
    assert (found.scripts, found.links) == (0, 0)
    bins = [r for r in found.rows if "bins" in r[1]]
    assert bins == [r for r in tables(run).rows if "bins" in r[1]][: len(bins)] != []
    assert b"#01020" not in first  # every stand-in colour became a variable
    assert write_report(run.root, True, tmp_path / "b.html").read_bytes() == first


@pytest.mark.parametrize("library", [False, True])
def test_what_was_trained_and_judged_is_shown(run: RunFolder, tmp_path: Path, library: bool) -> None:
    if library:
        pytest.importorskip("matplotlib")
    root = tmp_path / "run"
    shutil.copytree(run.root, root, symlinks=True)
    manifest = json.loads((root / "manifest.json").read_text())
    node = {**manifest["datasets"]["order"], "tokens": 0}
    figures = {"base": {"told": 0.25, "untold": 0.5}, "chat": {"told": 0.75}}
    manifest["datasets"]["judged"] = {**node, "kind": "evaluate", "rows_out": 0, "info": {"figures": figures, "items": 12}}
    manifest["datasets"]["more"] = {**node, "kind": "gather", "rows_out": 7, "info": {"datasets": {"web": {"rows": 9, "kept": 7}}}}
    (root / "manifest.json").write_text(json.dumps(manifest))
    lines = [
        {"step": n, "loss": 4.0 / (n + 1), "learning_rate": 1e-4 * n, "rewards/accuracies": n / 9, "norm": 1.0, "bad_loss": "x",
         "by": {"dataset": {"a": [3.0 - n / 9, 10], "<b>": [2.0, 10]}},
         **({"evaluation": {"<t>": {"main": "bits_per_byte", "bits_per_byte": 2.0 - n / 9, "items": 4}}} if n % 4 == 3 else {})}
        for n in range(9)
    ]  # fmt: skip
    (root / "tok" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9, "loss": NaN}\n')
    page = write_report(root, library, tmp_path / "page.html").read_text(encoding="utf-8")
    found = Tables()
    found.feed(page)
    assert found.of("judged", "judged") == [("base", [0.25, 0.5]), ("chat", [0.75])]
    assert found.of("more", "gathered") == [("web", [9, 7])]
    shown = re.findall(r"<figcaption>([^<]*) <span class=\"dim\">by step", page)
    assert shown == [
        "loss",
        "learning rate",
        "rewards/accuracies",
        "loss, dataset a",
        "loss, dataset &lt;b&gt;",
        "&lt;t&gt;, bits per byte",
    ]
    assert (found.scripts, found.links) == (0, 0)


def test_finds_by_source_and_audits_of_the_dataset_as_it_is(run: RunFolder, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(run.root, root, symlinks=True)
    manifest = json.loads((root / "manifest.json").read_text())
    entry = manifest["datasets"]["web"]
    line = next(line for line in entry["funnel"] if line["step"] == "pii")
    line["counts"] = {"mail<b>": {"email": 2}, "web": {"email": 1, "phone": 4}}
    (root / "manifest.json").write_text(json.dumps(manifest))
    recall = {"email": {"planted": 30, "found": 27, "other": 0, "missed": []}}
    found = Tables()
    found.feed(write_report(root, False, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found.of("web", "personal") == [("email", [3]), ("phone", [4])]
    assert found.of("web", "counts") == [("email", [2]), ("email", [1]), ("phone", [4])]
    for key, told in ((entry["key"], True), ("another", False)):
        (root / "audits").mkdir(exist_ok=True)
        (root / "audits" / "pii.json").write_text(json.dumps([{"dataset": "web", "key": key, "recall": recall}]))
        text = cards.write_card(root, None, tmp_path / "card.md")[0].read_text(encoding="utf-8")
        assert "| mail&lt;b&gt; | email 2 |\n| web | email 1, phone 4 |" in text
        assert ("| web | email | 30 | 27 |" in text, "Recall was not measured" in text) == (told, not told)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_opens_it_without_a_word(run: RunFolder, tmp_path: Path) -> None:
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--enable-logging=stderr",
               f"--log-net-log={tmp_path}/net.json", "--dump-dom", (run.root / "report.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "<title>case: report</title>" in done.stdout
    assert "CONSOLE" not in done.stderr
    assert not re.search(r'"url":"https?://[^"]*example\.com', (tmp_path / "net.json").read_text(encoding="utf-8", errors="replace"))


def test_the_card_is_checked_line_by_line(run: RunFolder) -> None:
    path = run.root / "card.md"
    text = path.read_text(encoding="utf-8")
    assert cards.check(run.root) == []
    entry = run.datasets["web"]
    assert f"| web | jsonl | MISSING |  | {entry['rows_in']:,} |" in text
    for reason, count in entry["dropped"].items():
        assert re.search(rf"\| {re.escape(reason)} \| {count} \|", text)
    for wrong in (text.replace("| gopher.too_short | 21 |", "| gopher.too_short | 20 |"), text.replace("email 1", "email 2")):
        assert wrong != text
        path.write_text(wrong, encoding="utf-8")
        assert len(cards.check(run.root)) == 1
    path.write_text(text + "\nA line that somebody added.\n", encoding="utf-8")
    assert cards.check(run.root) == []
    path.write_text(text, encoding="utf-8")


def test_the_hub_library_and_its_validation_take_the_cards(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf = pytest.importorskip("huggingface_hub")
    (tmp_path / "about.yaml").write_text(
        "licence: CC-BY-4.0\npurpose: 'Tests | of <b>cards</b>'\nsources: {web: {licence: made up}}\nconsent: none needed\ncontact: a@b.org\n",
        encoding="utf-8",
    )
    written = cards.write_card(run.root, tmp_path / "about.yaml", tmp_path / "card.md")[0]
    card = hf.DatasetCard(written.read_text(encoding="utf-8"))
    assert card.data.to_dict()["license"] == "cc-by-4.0"
    assert card.data.to_dict()["configs"] == [{"config_name": "web", "data_files": "web/part-*.parquet"}]
    assert "MISSING" not in card.text
    assert "Tests \\| of &lt;b&gt;" in card.text
    with hub() as state:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", state.url)
        card.validate()
        hf.ModelCard((run.root / "cards" / "tok.md").read_text(encoding="utf-8")).validate(repo_type="model")
        with pytest.raises(ValueError):
            hf.DatasetCard("---\nlicense: no-such\n---\n").validate()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("licence: cc-by-4\n", "Did you mean 'cc-by-4.0'?"),
        ("purpos: x\n", "purpos"),
        ("- a\n", "must hold keys"),
        ("a: [\n", "can't be read as YAML"),
    ],
)
def test_mistakes_in_about(run: RunFolder, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "about.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=re.escape(said)):
        cards.write_card(run.root, tmp_path / "about.yaml", tmp_path / "card.md")


def test_push_sends_data_and_card_and_nothing_removed(run: RunFolder) -> None:
    pytest.importorskip("huggingface_hub")
    upload = prepare(run.root, "someone/case", ["web"])
    assert upload.files[-1][0] == "README.md"
    with hub() as state:
        assert push(upload, private=True, token="t", endpoint=state.url) == f"{state.url}/datasets/someone/case"
        assert state.created[0]["type"] == "dataset"
        assert state.files["README.md"] == (run.root / "card.md").read_bytes()
        assert state.files["web/part-00000.parquet"] == (run.root / "web" / "part-00000.parquet").read_bytes()
        assert not [name for name in state.files if "dropped" in name or "ledger" in name or "quarantine" in name]
        state.refuse = True
        with pytest.raises(DataError, match="refused the push"):
            push(upload, private=True, token="t", endpoint=state.url)
    with pytest.raises(DataError, match="can't be reached"):  # nobody listens any more
        push(upload, private=True, token="t", endpoint=state.url)
    with pytest.raises(RecipeError, match="no dataset 'nope'"):
        prepare(run.root, "someone/case", ["nope"])


def test_why_follows_a_document_to_its_windows(run: RunFolder) -> None:
    from curate.loader import open_mix

    web, tokens = why(run, "d7")
    add_windows(run, tokens, batch=4)
    assert (web.dataset, web.fate, {s.fate for s in web.path}) == ("web", "kept", {"passed"})
    assert tokens.tokens is not None
    seen = tokens.tokens.seen[0]
    mix = open_mix(run.root / "order")
    holds = [k for k in range(len(mix)) if any(piece.id == "d7" for piece in mix.trace(k))]
    assert seen.windows == holds
    assert seen.steps.get("batch of 4", []) == sorted({k // 4 for k in holds})


@pytest.mark.parametrize(
    ("what", "step", "said"),
    [
        ("short3", "gopher_quality", "at least 30 survives"),
        ("hashes", "gopher_quality", "at most 0.1 survives"),
        ("copy", "dedup_exact", "for d7 (kept)"),
        ("near", "dedup_minhash", "for d8 (kept)"),
        ("leak", "decontaminate", "decontaminate.contaminated"),
    ],
)
def test_why_a_document_was_dropped(run: RunFolder, what: str, step: str, said: str) -> None:
    (found,) = why(run, what)
    at = next(i for i, s in enumerate(found.path) if s.fate == "dropped")
    assert found.path[at].step == step
    assert said in found.path[at].note
    assert {s.fate for s in found.path[:at]} <= {"passed"}
    assert {s.fate for s in found.path[at + 1 :]} <= {"not reached"}


def test_why_by_url_by_text_and_by_nothing(run: RunFolder) -> None:
    assert {j.id for j in why(run, "https://example.com/page/31")} == {"d31"}
    piece = next(j for j in why(run, "d40") if j.text is not None)
    assert "d40" in {j.id for j in why(run, (piece.text or "")[40:140])}
    with pytest.raises(RecipeError, match="no document has the id 'nobody'"):
        why(run, "nobody")


def test_results_render_in_notebooks(run: RunFolder) -> None:
    from curate.api import DatasetResult
    from curate.report.notebook import result_html

    shown = DatasetResult("web", run.root / "web", run.datasets["web"])._repr_html_()
    assert "gopher_quality" in shown and "too_short 21" in shown and "<td" in shown
    assert DatasetResult("web_tokens", run.root / "web_tokens", run.datasets["web_tokens"])._repr_html_().count("<tr>") == 2 + 1 + 1 + 5
    assert f"{run.datasets['web']['rows_out']:,}" in result_html(run.manifest, run.root, 1.0)


def test_every_recipe_has_a_card() -> None:
    root = Path(__file__).resolve().parents[3]
    recipes = {path.stem for path in (root / "pipelines").glob("*.yaml")}
    cards = {path.stem for path in (root / "data_cards").glob("*.md")}
    assert recipes == cards


def test_a_card_says_the_whole_command_and_what_each_node_is_made_from(run: RunFolder, other: RunFolder) -> None:
    card = (other.root / "card.md").read_text(encoding="utf-8")
    assert "\ncurate run case.yaml --set datasets.web.steps.gopher_quality.min_words=8 --set " in card
    made = {name: above for name, above, _, _ in cards.lineage(run)}
    assert made == {"web": "", "web_tokens": "web, tok", "order": "web_tokens", "tok": "web"}


def test_cards_in_the_repository_are_cards() -> None:
    import yaml

    from tests.curate.report.hub_stand_in import card_problem

    folder = Path(__file__).resolve().parents[3] / "data_cards"
    found = sorted(folder.glob("*.md"))
    assert found
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert card_problem(text) == ""
        assert "MISSING" not in text
        assert "**Missing" not in text
        assert not re.search(r"/(home|root|tmp|work|Users)/", text), "a path of somebody's machine"
        assert yaml.safe_load(text.split("---\n")[1])["configs"]


@pytest.fixture(scope="module")
def other(run: RunFolder) -> RunFolder:
    recipe = write_case(run.root.parent)
    settings = ["datasets.web.steps.gopher_quality.min_words=8", "datasets.web.steps.gopher_quality.max_hashes_per_word=null",
                "datasets.web.steps.gopher_quality.min_stop_words=0"]  # fmt: skip
    toolkit.run(recipe, out=run.root.parent / "other", only=["web"], set=settings, workers=1)
    return open_run(run.root.parent / "other")


def test_diff_tells_who_came_and_why(run: RunFolder, other: RunFolder) -> None:
    found = compare(run, other)
    steps = {c.where: (c.first, c.second) for c in found.changes}
    assert steps == {
        "datasets.web.steps.gopher_quality.min_words": (30, 8),
        "datasets.web.steps.gopher_quality.max_hashes_per_word": (0.1, None),
        "datasets.web.steps.gopher_quality.min_stop_words": (2, 0),
    }
    (web,) = found.datasets
    assert found.only_first == ["web_tokens"]
    assert not web.same
    assert web.lost == []
    gained = {m.reason: m for m in web.gained}
    assert sum(m.documents for m in web.gained) == other.datasets["web"]["rows_out"] - run.datasets["web"]["rows_out"]
    assert gained["gopher.hashes"].examples[0][0] == "hashes"
    assert gained["gopher.too_short"].documents >= 20
    assert web.sizes["rows_out"] == (run.datasets["web"]["rows_out"], other.datasets["web"]["rows_out"])
    assert compare(run, run).datasets[0].same


def command(*arguments: str | Path) -> Iterator[Any]:
    from typer.testing import CliRunner

    from curate.cli.app import build_app

    done = CliRunner().invoke(build_app([str(arguments[0])]), [str(a) for a in arguments])
    yield done.exit_code
    yield done.stdout


def test_commands(run: RunFolder, other: RunFolder, tmp_path: Path) -> None:
    code, out = command("report", run.root, "-o", tmp_path / "r.html", "--plain", "--json")
    assert code == 0
    assert json.loads(out)["bytes"] == (tmp_path / "r.html").stat().st_size
    code, out = command("card", run.root, "--check")
    assert code == 0
    code, out = command("why", run.root, "short3", "--json")
    assert json.loads(out)["documents"][0]["reason"] == "gopher.too_short"
    code, out = command("why", run.root, "d7", "--text")
    assert "tokens from token" in out
    code, out = command("diff", run.root, other.root)
    assert "gopher.too_short" in out
    assert json.loads(tuple(command("diff", run.root, other.root, "--json"))[1])["datasets"][0]["name"] == "web"
    code, out = command("push", run.root, "someone/case", "--dry-run", "--json")
    assert json.loads(out)["address"] is None
