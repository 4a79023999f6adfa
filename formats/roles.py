"""Names that data sets give to roles, and what they mean. Users add to the table with `roles:` of the reader or --role."""

from __future__ import annotations

from collections.abc import Mapping

# Seen in public sets. Compared in lower case; spaces and '-' count as '_'.
ALIASES = {
    "system": "system",
    "sys": "system",
    "system_prompt": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "question": "user",
    "instruction": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "gpt4": "assistant",
    "gpt_4": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "claude": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "output": "assistant",
    "answer": "assistant",
    "function_call": "assistant",  # its value is the call
    "tool": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "tool_results": "tool",
    "observation": "tool",
    "function": "tool",  # OpenAI's first tool API: the result, named
    "function_response": "tool",
    "function_result": "tool",
    "ipython": "tool",
}


def role_of(spelling: str, extra: Mapping[str, str] | None = None) -> str | None:
    """The role behind a spelling, or None where it is not known. extra: the user's own names, first."""
    if extra and spelling in extra:
        return extra[spelling]
    found = ALIASES.get(spelling)
    if found is None:
        found = ALIASES.get(spelling.strip().lower().replace(" ", "_").replace("-", "_"))
    return found
