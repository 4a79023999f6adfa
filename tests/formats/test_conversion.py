"""Files and recipes: every form of file, broken rows accounted for, policies, registries, the command."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner

import curate
from curate.cli.app import build_app
from curate.errors import DataError, RecipeError
from curate.io.reader import Split
from formats.adapters.adapter import Unholdable
from formats.adapters.mapped import AXOLOTL, Mapped, read_registry
from formats.catalog import FORMATS, adapter
from formats.convert import convert
from formats.detect import detect
from formats.policies import NAMES, Policies
from formats.records import Message, Record
from formats.sources import Line, rows_of
from tests.formats.cases import ROWS


def lines(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    if path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return json.loads(data) if path.suffix == ".json" else [json.loads(x) for x in data.splitlines()]


def save(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


ALPACA = [{"instruction": f"i{n}", "input": "x" * (n % 2), "output": f"o{n}"} for n in range(1500)]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet"])
def test_every_form_of_file_there_and_back(tmp_path: Path, suffix: str) -> None:
    source = save(tmp_path / "a.jsonl", ALPACA)
    report, found = convert(str(source), "messages", tmp_path / f"m{suffix}")
    assert found is not None and found.format == "alpaca" and report.held == report.rows == 1500
    convert(str(tmp_path / f"m{suffix}"), "alpaca", tmp_path / "b.jsonl.gz")
    assert lines(tmp_path / "b.jsonl.gz") == ALPACA
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.jsonl", "b.jsonl.gz", f"m{suffix}"])


def test_broken_rows_are_quarantined_with_place_and_reason(tmp_path: Path) -> None:
    rows = [
        *ALPACA[:200],
        '{"instruction": ',
        "[1]",
        '{"instruction": "a", "output": "\\ud800"}',
        {"instruction": "a", "input": "", "output": 3},
        "",
        "7",
    ]
    source = save(tmp_path / "a.jsonl", rows)
    report, _ = convert(str(source), "messages", tmp_path / "b.jsonl", "alpaca")
    assert report.rows == 205 and report.held == 200
    assert report.unreadable == {"source.unreadable": 2, "source.not_an_object": 2, "source.wrong_type": 1}
    bad = lines(tmp_path / "b.jsonl.quarantine.jsonl")
    data = source.read_bytes()
    assert all(data[b["offset"] :].startswith(b["content"].encode()[:5]) for b in bad)
    assert "surrogate" in bad[2]["error"] and "'output'" in bad[3]["error"]


def test_what_a_format_cannot_hold_is_dropped_by_reason_and_named(tmp_path: Path) -> None:
    source = save(tmp_path / "a.jsonl", ROWS["messages"])
    report, _ = convert(str(source), "alpaca", tmp_path / "b.jsonl", "messages")
    assert report.held == 2 and report.dropped == {"convert.parts": 1, "convert.tool_calls": 1}
    assert report.records == 4 and report.balanced()
    assert report.lost == {"messages.reasoning": 1, "messages.spans": 1, "messages.extra": 1}
    assert report.examples["convert.tool_calls"][0].startswith("a.jsonl@")


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_list_is_read_element_by_element(tmp_path: Path, indent: int | None) -> None:
    rng = random.Random(5)
    rows = [{"text": "".join(rng.choices('a"\\{}[],\n\u4f60', k=rng.randrange(0, 4000))), "n": [[], {}, [{"a": "]"}]]} for _ in range(900)]
    path = tmp_path / "a.json"
    path.write_text("\n " + json.dumps(rows, indent=indent, ensure_ascii=False) + "\n")
    split = Split(str(path), "a.json", path.stat().st_size, "")
    found = list(rows_of(split))
    assert [r.value for r in found if isinstance(r, Line)] == rows
    data = path.read_bytes()
    assert all(isinstance(r, Line) and json.loads(data[r.offset : r.offset + r.size].strip()) == r.value for r in found[:50])


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [("[]", 0, 0), ('[{"a": 1}, {"a": 2', 1, 1), ('[{"a": 1}] x', 1, 1), ('[{"a": 1}, {a}]', 1, 1), ('[{"a": "', 0, 1)],
)
def test_a_broken_json_list_gives_its_readable_rows(tmp_path: Path, text: str, good: int, bad: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    found = list(rows_of(Split(str(path), "a.json", len(text), "")))
    assert [isinstance(r, Line) for r in found] == [True] * good + [False] * bad


def test_detection_looks_at_many_rows() -> None:
    odd_first = [{"prompt": "p"}, *ROWS["alpaca"][:1] * 99]
    found = detect(iter(odd_first), "f")
    assert found.format == "alpaca" and found.others == {"prompt": 1} and "99 of 100" in str(found)
    with pytest.raises(DataError, match=r"50 rows like alpaca.*50 rows like kto"):
        detect(iter([*ROWS["alpaca"][:1] * 50, *ROWS["kto"][:1] * 50]), "f")
    with pytest.raises(DataError, match="can't be told"):
        detect(iter([{"x": 1}]), "f")


def talk(*turns: str) -> Record:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return Record([Message(names[t[0]], t[1:]) for t in turns])


POLICY_CASES = [
    ("consecutive", "join", ("ux", "uy", "az"), ["x\n\ny", "z"]),
    ("leading_assistant", "drop", ("sx", "aq", "uy", "az"), ["x", "y", "z"]),
    ("trailing_user", "drop", ("ux", "az", "uw", "tv"), ["x", "z"]),
    ("empty_turn", "drop", ("ux", "a", "az"), ["x", "z"]),
]


@pytest.mark.parametrize(("name", "action", "turns", "left"), POLICY_CASES)
def test_policies_do_what_they_say_and_count(name: str, action: str, turns: tuple[str, ...], left: list[str]) -> None:
    counts: Counter[str] = Counter()
    kept = Policies().apply(talk(*turns), counts)
    assert kept == talk(*turns) and counts[name] == 1, "keep changes nothing and counts"
    changed = Policies.model_validate({name: action}).apply(talk(*turns), counts)
    assert [m.content for m in changed.messages] == left and counts[name] == 2
    with pytest.raises(Unholdable) as error:
        Policies.model_validate({name: "reject"}).apply(talk(*turns), counts)
    assert error.value.reason == name


def test_usual_conversations_are_not_odd() -> None:
    counts: Counter[str] = Counter()
    call = Record(
        [
            Message("user", "q"),
            Message("assistant", None, tool_calls=[]),
            Message("tool", "a"),
            Message("tool", "b"),
            Message("assistant", "z"),
        ]
    )
    for source in (talk("ux", "ay"), talk("sx", "uy", "az", "uw", "av")):
        Policies().apply(source, counts)
    assert not counts
    Policies().apply(call, counts)
    assert set(counts) <= {"empty_turn"} and set(NAMES) == set(Policies.model_fields)


def test_inline_reasoning_is_split() -> None:
    made = Policies(inline_reasoning="split").apply(talk("uq", "a<think>\nwhy\n</think>\n\nanswer"), Counter())
    assert (made.messages[1].reasoning, made.messages[1].content) == ("why", "answer")


def save_csv(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    """As a data frame whose lists were written as JSON."""
    with path.open("w", newline="") as file:
        out = csv.writer(file, delimiter=delimiter)
        out.writerow(rows[0])
        out.writerows([[v if isinstance(v, str) else json.dumps(v) for v in row.values()] for row in rows])
    return path


@pytest.mark.parametrize("name", sorted(ROWS))
def test_csv_of_every_format(tmp_path: Path, name: str) -> None:
    for row in ROWS[name]:
        source = save_csv(tmp_path / "a.csv", [row, row])
        report, found = convert(str(source), name, tmp_path / "b.jsonl")
        assert found is not None and found.format == name and not report.unreadable
        own = {key: json.dumps(v) if key in ("_row", "id", "services", "meta") and not isinstance(v, str) else v for key, v in row.items()}
        assert lines(tmp_path / "b.jsonl") == [own, own]  # columns that a format does not know stay text


def test_csv_with_other_names_tabs_and_tasks(tmp_path: Path) -> None:
    (pair,) = [r for r in ROWS["preference"] if "margin" in r]
    save_csv(tmp_path / "a.tsv", [{"good" if k == "chosen" else k: v for k, v in pair.items()}], "\t")
    convert(str(tmp_path / "a.tsv"), "preference", tmp_path / "b.jsonl", "preference", columns={"chosen": "good"})
    assert lines(tmp_path / "b.jsonl") == [pair]
    save_csv(tmp_path / "c.csv", [{"premise": "010", "label": 1}])
    settings = {"prompt": "{{premise}}?", "completion": "{{ ['yes', 'no'][label] }}"}
    convert(str(tmp_path / "c.csv"), "messages", tmp_path / "d.jsonl", "task", read_settings=settings)
    assert [t["content"] for t in lines(tmp_path / "d.jsonl")[0]["messages"]] == ["010?", "no"]


def test_broken_csv_is_quarantined_with_place_and_reason(tmp_path: Path) -> None:
    good = json.dumps([{"role": "user", "content": "a\nb"}, {"role": "assistant", "content": "c"}]).replace('"', '""')
    text = f'messages,x\n"{good}",1\n"[{{\'role\': \'user\'}}]",2\nonly one\n"{good}",\n3,4\n'
    (tmp_path / "a.csv").write_text(text)
    report, _ = convert(str(tmp_path / "a.csv"), "messages", tmp_path / "b.jsonl", "messages")
    assert (report.rows, report.held) == (5, 2) and report.unreadable == {"source.unreadable": 2, "source.missing_field": 1}
    bad = {b["offset"]: b["error"] for b in lines(tmp_path / "b.jsonl.quarantine.jsonl")}
    assert {text[at:].split("\n")[0]: error.split(",")[0] for at, error in bad.items()} == {
        "\"[{'role': 'user'}]\",2": "column 'messages' is a list as Python prints it",
        "only one": "1 fields",
        "3,4": "'messages' is text",
    }
    (tmp_path / "a.csv").write_text("text,x,x\na,b,c\n")
    report, _ = convert(str(tmp_path / "a.csv"), "text", tmp_path / "c.jsonl", "text")
    assert report.unreadable == {"source.unreadable": 1} and "'x' stands twice" in report.examples["source.unreadable"][0]


REGISTRY = {
    "identity": {"file_name": "identity.json"},
    "calls": {"file_name": "calls.json", "formatting": "sharegpt", "columns": {"messages": "conversations", "tools": "tools"}},
    "roles": {"file_name": "roles.json", "formatting": "sharegpt", "columns": {"messages": "talk", "images": "images"},
              "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "q", "assistant_tag": "model_a"}},
    "pairs": {"file_name": "pairs.json", "ranking": True, "columns": {"prompt": "question", "chosen": "good", "rejected": "bad", "system": "sys"}},
    "kto": {"file_name": "kto.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages", "kto_tag": "label"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}},
    "wiki": {"file_name": "wiki.jsonl", "columns": {"prompt": "body"}},
    "far": {"hf_hub_url": "org/set", "formatting": "sharegpt"},
}  # fmt: skip
FILES: dict[str, list[dict[str, Any]]] = {
    "identity.json": [{"instruction": "hi", "input": "", "output": "ho"}],
    "calls.json": [ROWS["sharegpt"][-1]],
    "roles.json": [{"talk": [{"who": "q", "says": "<image>x"}, {"who": "model_a", "says": "y"}], "images": ["a.png"]}],
    "pairs.json": [{"question": "q", "good": "a", "bad": "b", "sys": "s"}],
    "kto.jsonl": [{"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}], "label": False}],
    "wiki.jsonl": [{"body": "text"}],
}


def registry(folder: Path) -> Path:
    for name, rows in FILES.items():
        (folder / name).write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in rows))
    (folder / "dataset_info.json").write_text(json.dumps(REGISTRY))
    return folder / "dataset_info.json"


def test_a_whole_registry_is_read(tmp_path: Path) -> None:
    entries = read_registry(str(registry(tmp_path)))
    assert {n: e.format for n, e in entries.items()} == {
        "identity": "alpaca", "calls": "sharegpt", "roles": "sharegpt", "pairs": "preference", "kto": "kto", "wiki": "text", "far": "sharegpt",
    }  # fmt: skip
    made = {}
    for name, entry in entries.items():
        if entry.file:
            kind = Mapped(adapter(entry.format), entry.columns, entry.tags)
            (made[name],) = [kind.read(json.loads(json.dumps(r))) for r in FILES[Path(entry.file).name]]
    assert [m.role for m in made["roles"].messages] == ["user", "assistant"] and made["roles"].meta["images"] == ["a.png"]
    assert [m.role for m in made["pairs"].messages] == ["system", "user"] and made["pairs"].candidates[1].messages[0].content == "b"
    assert made["kto"].candidates[0].label is False and made["wiki"].text == "text"
    result = CliRunner().invoke(
        build_app(["convert"]),
        ["convert", str(tmp_path / "dataset_info.json"), "--to", "messages", "-o", str(tmp_path / "out.jsonl"), "-q"],
    )
    assert result.exit_code == 1 and "wiki" in str(result.exception), "raw text is no conversation, and that is said"
    assert lines(tmp_path / "out.identity.jsonl")[0]["messages"][1] == {"role": "assistant", "content": "ho"}


def test_axolotl_types_are_known() -> None:
    for kind in AXOLOTL:
        adapter(f"axolotl:{kind}")
    made = adapter("axolotl:chatml.intel").read({"system": "s", "question": "q", "chosen": "a", "rejected": "b"})
    assert [m.role for m in made.messages] == ["system", "user"]
    with pytest.raises(RecipeError, match="Did you mean 'sharegpt'"):
        adapter("axolotl:sharegtp")


def test_task_templates_fill_from_columns() -> None:
    kind = adapter("task", prompt="{{premise}} Question: {{hypothesis}}?", completion="{{ ['yes', 'no'][label] }}", template="nli")
    made = kind.read({"premise": "P.", "hypothesis": "h", "label": 1})
    assert [m.content for m in made.messages] == ["P. Question: h?", "no"]
    assert kind.write(made, set()) == [{"premise": "P.", "hypothesis": "h", "label": 1}]
    from formats.adapters.adapter import Unreadable

    for row in ({"premise": "P."}, {"premise": "", "hypothesis": "", "label": 9}):
        with pytest.raises(Unreadable, match="template"):
            kind.read(row)
    with pytest.raises(Unreadable, match="template"):
        adapter("task", prompt="{{ x.__class__.__mro__ }}", completion="{{ x.__class__.__base__.__subclasses__() }}").read({"x": "a"})


def test_the_command(tmp_path: Path) -> None:
    source, out = save(tmp_path / "a.jsonl", ALPACA[:3]), tmp_path / "b.jsonl"
    app, run = build_app(["convert"]), CliRunner()
    result = run.invoke(app, ["convert", str(source), "--to", "messages", "-o", str(out), "--json", "-q"])
    assert result.exit_code == 0 and json.loads(result.stdout)["held"] == 3
    for arguments, message in (
        (["--to", "messages", "-o", str(out)], "exists"),
        (["--to", "mesages", "-o", str(tmp_path / "c.jsonl")], "Did you mean 'messages'"),
        (["--to", "messages", "-o", str(tmp_path / "c.txt")], "suffix"),
        (["--to", "messages", "-o", str(tmp_path / "c.jsonl"), "--policy", "consecutve=join"], "Did you mean 'consecutive'"),
        (["--to", "messages", "-o", str(tmp_path / "c.jsonl"), "--write", "pairs=all"], "no setting 'pairs'"),
    ):
        result = run.invoke(app, ["convert", str(source), *arguments])
        assert result.exit_code == 1 and message in str(result.exception), arguments


@pytest.mark.parametrize("into", ["jsonl", "parquet"])
def test_formats_in_a_recipe(tmp_path: Path, into: str) -> None:
    save(tmp_path / "a.jsonl", [*ROWS["messages"], {"messages": 3}])
    (tmp_path / "b.json").write_text(json.dumps(ALPACA[:20]))
    (tmp_path / "r.yaml").write_text(
        "name: r\ndatasets:\n"
        f"  chat: {{read: {{jsonl: a.jsonl, format: messages}}, write: {{format: alpaca, into: {into}}}, max_quarantine: 0.5}}\n"
        f"  alp: {{read: {{jsonl: b.json, format: alpaca}}, steps: [{{convert: {{to: messages, policies: {{empty_turn: reject}}}}}}], write: {{format: messages, into: {into}}}}}\n"
    )
    save_csv(tmp_path / "c.csv", ROWS["dolly"])
    with (tmp_path / "r.yaml").open("a") as recipe:
        recipe.write("  table: {read: {csv: c.csv, format: dolly}, write: {format: dolly, into: jsonl}}\n")
    result = curate.run(tmp_path / "r.yaml", out=tmp_path / "out", workers=1)
    assert lines(next((tmp_path / "out" / "table").glob("part-*"))) == ROWS["dolly"]
    chat = result.manifest["datasets"]["chat"]
    assert (chat["rows_in"], chat["rows_out"], chat["quarantined"]) == (5, 2, 1)
    assert chat["dropped"] == {"convert.parts": 1, "convert.tool_calls": 1}
    (part,) = (tmp_path / "out" / "alp").glob("part-*")
    convert(str(part), "alpaca", tmp_path / "back.jsonl")
    assert lines(tmp_path / "back.jsonl") == ALPACA[:20]


def test_mistakes_in_a_recipe_have_their_line(tmp_path: Path) -> None:
    save(tmp_path / "a.jsonl", ALPACA[:1])
    (tmp_path / "r.yaml").write_text("read: {jsonl: a.jsonl, format: alpacca}\nwrite: {format: messages}\n")
    with pytest.raises(RecipeError, match=r"r.yaml:1: .*Did you mean 'alpaca'"):
        curate.load_recipe(tmp_path / "r.yaml")


def test_every_format_can_be_named_in_a_recipe() -> None:
    from curate import registry as names

    assert set(FORMATS) - {"task"} <= set(names.names("writers"))
    for name in sorted(set(FORMATS) - {"task"}):
        assert names.load("writers", name).format == name


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("ids: 1", "write.ids must be true or false, got 1."), ("into: 3", "write.into must be text, got 3."),
     ("foo: 3", "the format 'messages' has no setting 'foo'")],
)  # fmt: skip
def test_settings_of_a_writer_that_it_does_not_take(tmp_path: Path, given: str, sentence: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": []}\n')
    (tmp_path / "r.yaml").write_text(f"read: {{jsonl: a.jsonl, format: messages}}\nwrite: {{format: messages, {given}}}\n")
    with pytest.raises(RecipeError, match=sentence):
        curate.load_recipe(tmp_path / "r.yaml")
