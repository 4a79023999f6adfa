"""Known chat formats as templates of our own, with generation markers around the answer and its stop token.

Each is `{source, stop, literals}`: `stop` is the text that ends an answer ("eos": the tokenizer's own), `literals` are the
marks that delimit turns and that no message may hold. The wire formats are those of the models' cards; differences:

    gemma, mistral   a system turn is put before the first user turn (Gemma's own template refuses it)
    alpaca           the prompt of Stanford Alpaca's train.py, answer right after "### Response:"; `alpaca_newline` has the line
                     break that torchtune and others add: it changes the first token of every answer, so it has a name of its own.
                     Later turns repeat the sections; a system turn takes the place of the opening sentence
    vicuna           v1.1; the blank before an answer belongs to the answer, as in BPE vocabularies
    qwen             Qwen 2.5's: tools in the system turn, calls in <tool_call>; reasoning in <think>; no default system turn
"""

from __future__ import annotations

from typing import NamedTuple

from curate.errors import RecipeError
from curate.registry import nearest


class Named(NamedTuple):
    """A template of ours."""

    source: str
    stop: str  # "eos": the tokenizer's end-of-text token
    literals: tuple[str, ...]


_PLAIN = (
    "{%- if message.tool_calls or message.role == 'tool' -%}{{- raise_exception('this template has no place for tools') -}}{%- endif -%}"
)
_CHATML = """
{%- for message in messages -%}
  PLAIN
  {{- '<|im_start|>' + message.role + '\\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}{{- message.content + '<|im_end|>' -}}{%- endgeneration -%}
  {%- else -%}
    {{- message.content + '<|im_end|>' -}}
  {%- endif -%}
  {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""
_LLAMA3 = """
{{- bos_token -}}
{%- for message in messages -%}
  PLAIN
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}{{- message.content | trim + '<|eot_id|>' -}}{%- endgeneration -%}
  {%- else -%}
    {{- message.content | trim + '<|eot_id|>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}"""
_ZEPHYR = """
{%- for message in messages -%}
  PLAIN
  {{- '<|' + message.role + '|>\\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
  {%- else -%}
    {{- message.content + eos_token -}}
  {%- endif -%}
  {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}"""
_GEMMA = """
{{- bos_token -}}
{%- set held = namespace(system='') -%}
{%- for message in messages -%}
  PLAIN
  {%- if message.role == 'system' -%}
    {%- set held.system = held.system + message.content | trim + '\\n\\n' -%}
  {%- elif message.role == 'assistant' -%}
    {{- '<start_of_turn>model\\n' -}}
    {%- generation -%}{{- message.content | trim + '<end_of_turn>' -}}{%- endgeneration -%}
    {{- '\\n' -}}
  {%- else -%}
    {{- '<start_of_turn>' + message.role + '\\n' + held.system + message.content | trim + '<end_of_turn>\\n' -}}
    {%- set held.system = '' -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}"""
_MISTRAL = """
{{- bos_token -}}
{%- set held = namespace(system='') -%}
{%- for message in messages -%}
  PLAIN
  {%- if message.role == 'system' -%}
    {%- set held.system = held.system + message.content + '\\n\\n' -%}
  {%- elif message.role == 'assistant' -%}
    {%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
  {%- else -%}
    {{- '[INST]' + held.system + message.content + '[/INST]' -}}
    {%- set held.system = '' -%}
  {%- endif -%}
{%- endfor -%}"""
_VICUNA = """
{%- for message in messages -%}
  PLAIN
  {%- if message.role == 'system' -%}
    {{- message.content -}}
  {%- elif message.role == 'assistant' -%}
    {{- ' ASSISTANT:' -}}{%- generation -%}{{- ' ' + message.content + eos_token -}}{%- endgeneration -%}
  {%- else -%}
    {%- if loop.first -%}{{- OPENING -}}{%- endif -%}
    {{- (' ' if loop.index0 < 2 else '') + 'USER: ' + message.content -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ' ASSISTANT:' -}}{%- endif -%}""".replace(
    "OPENING", "'A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user\\'s questions.'"
)  # fmt: skip
_ALPACA = """
{%- set held = namespace(system='') -%}
{%- set ending = '. Write a response that appropriately completes the request.' -%}
{%- for message in messages -%}
  PLAIN
  {%- if message.role == 'system' -%}
    {%- set held.system = message.content -%}
  {%- elif message.role == 'assistant' -%}
    {{- '### Response:BREAK' -}}
    {%- generation -%}{{- message.content + eos_token -}}{%- endgeneration -%}
    {%- if not loop.last -%}{{- '\\n\\n' -}}{%- endif -%}
  {%- else -%}
    {%- if held.system is not none -%}
      {%- if held.system -%}{{- held.system -}}
      {%- else -%}{{- 'Below is an instruction that describes a task' + (', paired with an input that provides further context' if message.input else '') + ending -}}
      {%- endif -%}
      {{- '\\n\\n' -}}{%- set held.system = none -%}
    {%- endif -%}
    {{- '### Instruction:\\n' + (message.instruction if message.input else message.content) + '\\n\\n' -}}
    {%- if message.input -%}{{- '### Input:\\n' + message.input + '\\n\\n' -}}{%- endif -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Response:BREAK' -}}{%- endif -%}"""
_QWEN = """
{%- if tools -%}
  {{- '<|im_start|>system\\n' + (messages[0].content + '\\n\\n' if messages[0].role == 'system' else '') -}}
  {{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -}}
  {%- for tool in tools -%}{{- '\\n' + tool | tojson -}}{%- endfor -%}
  {{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message.role == 'assistant' -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- generation -%}
      {%- if message.reasoning_content -%}{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' -}}{%- endif -%}
      {{- message.content -}}
      {%- for call in message.tool_calls or [] -%}
        {{- ('\\n' if message.content or not loop.first else '') + '<tool_call>\\n{"name": ' + call.function.name | tojson + ', "arguments": ' -}}
        {{- (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) + '}\\n</tool_call>' -}}
      {%- endfor -%}
      {{- '<|im_end|>' -}}
    {%- endgeneration -%}
    {{- '\\n' -}}
  {%- elif message.role == 'tool' -%}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
    {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
  {%- elif not (tools and loop.first and message.role == 'system') -%}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""

_IM = ("<|im_start|>", "<|im_end|>")
NAMED = {
    "chatml": Named(_CHATML, "<|im_end|>", _IM),
    "llama3": Named(_LLAMA3, "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "alpaca": Named(_ALPACA.replace("BREAK", ""), "eos", ()),
    "alpaca_newline": Named(_ALPACA.replace("BREAK", "\\n"), "eos", ()),
    "vicuna": Named(_VICUNA, "eos", ()),
    "zephyr": Named(_ZEPHYR, "eos", ("<|system|>", "<|user|>", "<|assistant|>")),
    "gemma": Named(_GEMMA, "<end_of_turn>", ("<start_of_turn>", "<end_of_turn>")),
    "mistral": Named(_MISTRAL, "eos", ("[INST]", "[/INST]")),
    "qwen": Named(_QWEN, "<|im_end|>", _IM),
}


def named(name: str) -> Named:
    """A template of ours. Raises RecipeError for an unknown name."""
    if name not in NAMED:
        raise RecipeError(
            f"unknown chat template {name!r}.{nearest(name, list(NAMED))} There are: {', '.join(NAMED)}, or a file ending in .jinja."
        )
    found = NAMED[name]
    return found._replace(source=found.source.replace("PLAIN", _PLAIN).lstrip("\n"))
