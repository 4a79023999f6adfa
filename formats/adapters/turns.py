"""One turn as a dict, in the spellings that public sets use, to a Message and back.

What a set spells otherwise than the family it is written in is kept in `extra["as"]` of the turn ("as": {"role": "bing"}),
so that it comes back. Where two keys would hold the same thing (`reasoning` and `thinking`) the first one counts and the
other one stays an extra key: nothing is lost, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from formats.adapters.adapter import Unreadable, kind
from formats.json_text import dumps, loads
from formats.records import Message, Span, ToolCall, is_plain
from formats.roles import role_of


class Spelling(NamedTuple):
    """How a family spells a turn: its keys, and its names of roles."""

    role: str
    content: str
    names: Mapping[str, str] = {}  # canonical role -> name; itself where missing
    meanings: Mapping[str, str] = {}  # names that mean something else here than the alias table says


OPENAI = Spelling("role", "content")
SHAREGPT = Spelling("from", "value", {"user": "human", "assistant": "gpt", "tool": "observation"})
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
LOSS_KEYS = ("loss_weight", "weight", "train", "trainable")
_PLAIN_KEYS = 2
_V1 = re.compile(r"(reasoning)?(^text|,text)?((^|,)tool_call)*")
_RAW_CALL = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_RAW_CALLS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def read_turn(turn: Any, spelling: Spelling, roles: Mapping[str, str] | None = None) -> Message:
    """The message of a turn dict. Raises Unreadable for an unknown role or content of another kind."""
    if not isinstance(turn, dict):
        raise Unreadable("turn", f"a turn is {kind(turn)}, expected an object with {spelling.role!r} and {spelling.content!r}")
    given = turn.get(spelling.role)
    if not isinstance(given, str):
        raise Unreadable("role", f"a turn has no text under {spelling.role!r}; its keys are: {', '.join(turn)}")
    role = given if given in ("user", "assistant", "system") and not spelling.meanings else _role(given, spelling, roles)
    if len(turn) == _PLAIN_KEYS and isinstance(turn.get(spelling.content), str) and given != "function_call":
        message = Message(role, turn[spelling.content])
        if given != spelling.names.get(role, role):
            message.extra = {"as": {"role": given}}
        return message
    return _whole(turn, role, given, spelling)


def _role(given: str, spelling: Spelling, roles: Mapping[str, str] | None) -> str:
    role = (roles or {}).get(given) or spelling.meanings.get(given) or role_of(given)
    if role is None:
        raise Unreadable("unknown_role", f"the role {given!r} is not known; name its meaning with --role {given}=assistant (or user, ...)")
    return role


def _whole(turn: dict[str, Any], role: str, given: str, spelling: Spelling) -> Message:
    """A turn with more than role and text."""
    rest = {k: v for k, v in turn.items() if k not in (spelling.role, spelling.content)}
    spelt = dict(rest.pop("as")) if isinstance(rest.get("as"), dict) else {}
    if given != spelling.names.get(role, role):
        spelt["role"] = given
    message = Message(role)
    if spelling.content not in turn:
        spelt["content"] = "absent"
    if isinstance(turn.get(spelling.content), dict):
        spelt["content"] = "object"
    _content(message, turn.get(spelling.content), given, spelt)
    if given == "function_call" and message.content is not None:
        _called(message, spelt)
    for key in REASONING_KEYS:
        if isinstance(rest.get(key), str):
            message.reasoning = rest.pop(key)
            if key != REASONING_KEYS[0]:
                spelt["reasoning"] = key
            break
    if "tool_calls" in rest and rest["tool_calls"] is not None:
        message.tool_calls = _calls(rest.pop("tool_calls"))
    for key in ("tool_call_id", "name"):
        if isinstance(rest.get(key), str):
            setattr(message, key, rest.pop(key))
    _loss(message, rest, spelt)
    if spelt:
        rest["as"] = spelt
    message.extra = rest or None
    return message


def _content(message: Message, value: Any, given: str, spelt: dict[str, Any]) -> None:
    if isinstance(value, list):
        if not _kinds(message, value, spelt):
            message.parts = value
    elif value is None or isinstance(value, str):
        message.content = value
    elif isinstance(value, dict) and message.role in ("tool", "assistant"):
        message.content = dumps(value)  # a result or a call as an object
    else:
        raise Unreadable("content", f"content of a turn ({given!r}) is {kind(value)}, expected text, a list of parts or null")


def _kinds(message: Message, parts: list[Any], spelt: dict[str, Any]) -> bool:
    """LLaMA-Factory's parts of {"type", "value"}: reasoning, then text, then tool calls. Another order stays a list of parts."""
    if not parts or not all(isinstance(p, dict) and set(p) == {"type", "value"} and isinstance(p["value"], str) for p in parts):
        return False
    kinds = [p["type"] for p in parts]
    if not _V1.fullmatch(",".join(kinds)):
        return False
    probe = Message(message.role)
    calls: list[ToolCall] = []
    for part in parts:
        if part["type"] == "reasoning":
            probe.reasoning = part["value"]
        elif part["type"] == "text":
            probe.content = part["value"]
        else:
            one = Message(message.role, part["value"])
            _called(one, {})
            if one.tool_calls is None or len(one.tool_calls) != 1 or call_text(one.tool_calls) != part["value"]:
                return False
            calls += one.tool_calls
    message.reasoning, message.content, message.tool_calls = probe.reasoning, probe.content, calls or None
    spelt["content"] = "typed"
    return True


def _typed(m: Message) -> list[dict[str, str]]:
    """The parts of {"type", "value"} that a message came from."""
    parts = [{"type": "reasoning", "value": m.reasoning}] if m.reasoning is not None else []
    parts += [{"type": "text", "value": m.content}] if m.content is not None else []
    return [*parts, *({"type": "tool_call", "value": call_text([call])} for call in m.tool_calls or ())]


def _called(message: Message, spelt: dict[str, Any]) -> None:
    """ShareGPT's `function_call`: the content is one call, or a list of parallel ones, as JSON text. Arguments keep their bytes."""
    text = message.content or ""
    try:
        values = _RAW_CALLS(text) if text.lstrip().startswith("[") else [_RAW_CALL(text)]
        made = [_raw_call(value) for value in values]
    except (ValueError, KeyError):
        return  # kept as content: a model wrote what is no call
    message.tool_calls, message.content = made, None
    spelt.pop("role", None)
    if call_text(made) != text:
        spelt["call"] = text  # other white space or order of keys: the text itself comes back


def _raw_call(value: dict[str, msgspec.Raw]) -> ToolCall:
    name, arguments = loads(bytes(value["name"])), bytes(value["arguments"]).decode()
    if not isinstance(name, str):
        raise ValueError
    extra = {k: loads(bytes(v)) for k, v in value.items() if k not in ("name", "arguments")}
    return ToolCall(name, loads(arguments) if arguments.startswith('"') else arguments, None, extra or None)


def call_text(calls: list[ToolCall]) -> str:
    """ShareGPT's text of calls: one object, or a list where there are several."""
    made = []
    for call in calls:
        rest = dumps(call.extra)[1:-1] if call.extra else ""
        try:
            loads(call.arguments)
            arguments = call.arguments
        except ValueError:
            arguments = dumps(call.arguments)
        made.append(f'{{"name": {dumps(call.name)}, "arguments": {arguments}{", " + rest if rest else ""}}}')
    return made[0] if len(made) == 1 else f"[{', '.join(made)}]"


def _calls(value: Any) -> list[ToolCall]:
    if not isinstance(value, list):
        raise Unreadable("tool_calls", f"'tool_calls' is {kind(value)}, expected a list")
    return [_call(call) for call in value]


def _call(call: Any) -> ToolCall:
    """OpenAI's form {"id", "type", "function": {"name", "arguments"}}, or the call without the wrapper."""
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise Unreadable("tool_calls", f"a tool call has no name: {dumps(call)[:80]}")
    arguments = inner.get("arguments")
    if arguments is None:
        arguments = inner.get("parameters", {})
    identity = call.get("id")
    rest = {k: v for k, v in call.items() if k not in ("function", "id", "name", "arguments") and not (k == "type" and v == "function")}
    if inner is not call:
        rest |= {f"function.{k}": v for k, v in inner.items() if k not in ("name", "arguments", "parameters")}
    if identity is not None and not isinstance(identity, str):
        rest["id"] = identity
    text = arguments if isinstance(arguments, str) else dumps(arguments)
    return ToolCall(inner["name"], text, identity if isinstance(identity, str) else None, rest or None)


def _loss(message: Message, rest: dict[str, Any], spelt: dict[str, Any]) -> None:
    """Weights of turns under their names; character spans of axolotl's `train_detail`."""
    for key in LOSS_KEYS:
        value = rest.get(key)
        if isinstance(value, (bool, int, float)) and (not key.startswith("train") or value in (0, 1)):
            message.loss = float(rest.pop(key))
            if key != LOSS_KEYS[0]:
                spelt["loss"] = key
            break
    if isinstance(rest.get("train_detail"), list):
        message.spans = [_span(d) for d in rest.pop("train_detail")]


def _span(detail: Any) -> Span:
    try:
        if len(detail) != 3:
            raise TypeError
        # axolotl counts the last character in
        return Span(int(detail["begin_offset"]), int(detail["end_offset"]) + 1, float(detail["train"]))
    except (KeyError, TypeError, ValueError):
        raise Unreadable("spans", f"'train_detail' needs begin_offset, end_offset and train; got {dumps(detail)[:80]}") from None


def write_turn(message: Message, spelling: Spelling) -> dict[str, Any]:
    """The turn dict of a message, in OpenAI's or ShareGPT's keys."""
    m = message
    role = spelling.names.get(m.role, m.role)
    if is_plain(m):
        return {spelling.role: role, spelling.content: m.content}
    extra = dict(m.extra) if m.extra else {}
    spelt = dict(extra.pop("as", None) or {})
    turn: dict[str, Any] = {spelling.role: _spelt_role(m.role, role, spelt)}
    how = spelt.get("content") if m.parts is None else None
    if how == "absent" and m.content is None:
        del spelt["content"]
    elif how == "typed":
        del spelt["content"]
        turn[spelling.content] = _typed(m)
        m = Message(m.role, tool_call_id=m.tool_call_id, name=m.name, loss=m.loss, spans=m.spans)
    elif how == "object" and m.content is not None:
        del spelt["content"]
        turn[spelling.content] = loads(m.content)
    else:
        turn[spelling.content] = m.parts if m.parts is not None else m.content
    if m.reasoning is not None:
        turn[spelt.pop("reasoning", REASONING_KEYS[0])] = m.reasoning
    if m.tool_calls is not None:
        turn["tool_calls"] = [_write_call(call) for call in m.tool_calls]
    if m.tool_call_id is not None:
        turn["tool_call_id"] = m.tool_call_id
    if m.name is not None:
        turn["name"] = m.name
    if m.loss is not None:
        key = spelt.pop("loss", "loss_weight")
        turn[key] = (
            bool(m.loss)
            if key.startswith("train") and m.loss in (0, 1)
            else int(m.loss)
            if key == "weight" and m.loss.is_integer()
            else m.loss
        )
    if m.spans is not None:
        turn["train_detail"] = [
            {"begin_offset": s.start, "end_offset": s.end - 1, "train": bool(s.loss) if s.loss in (0, 1) else s.loss} for s in m.spans
        ]
    turn.update(extra)
    if spelt:
        turn["as"] = spelt
    return turn


def _spelt_role(role: str, default: str, spelt: dict[str, Any]) -> str:
    """The source's name of the role where a reader understands it; it stays in `spelt` where it is this family's own, or known to its set alone."""
    given = spelt.get("role")
    if given is None or given == default or given == "function_call" or role_of(given) != role:
        return default
    return str(spelt.pop("role"))


def _write_call(call: ToolCall) -> dict[str, Any]:
    extra = dict(call.extra) if call.extra else {}
    inner = {"name": call.name, "arguments": call.arguments}
    inner |= {k.partition(".")[2]: extra.pop(k) for k in list(extra) if k.startswith("function.")}
    made: dict[str, Any] = {"id": call.id} if call.id is not None else {}
    made |= {"type": "function", "function": inner}
    return {**made, **extra}


def tools_text(value: Any) -> str | None:
    """Tool schemas as JSON text: text stays byte for byte, a list becomes compact JSON. None for null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        return dumps(value)
    raise Unreadable("tools", f"'tools' is {kind(value)}, expected a list of schemas or their JSON text")
