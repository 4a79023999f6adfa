"""Who answers, as a recipe says it: the values of `model:`.

model: sft0                                             a model of the recipe, in this process
model: checkpoints/sft                                  a folder, in this process
model: {folder: sft0, engine: vllm, tensor_parallel: 2}
model: {server: "http://localhost:8000/v1", name: my-model}
model: {server: "https://api.example.com/v1", name: big, key_env: EXAMPLE_KEY, requests_per_minute: 500}
model: {batch: openai, server: "https://api.openai.com/v1", name: small, key_env: OPENAI_API_KEY}
model: {plugin: mine}                                   a function of a file given with --plugin
model: {recorded: answers.jsonl}                        answers that were given before
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from curate.errors import RecipeError
from curate.fingerprint import file_digest
from curate.step import Asset, Context
from formats.generation.backend import Backend

_SECRETS = ("authorization", "api_key", "api-key", "apikey", "token", "secret", "password")


class _Model(BaseModel):
    in_words: ClassVar[str]  # for messages
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ServerModel(_Model):
    """A model behind a server with OpenAI's API."""

    in_words: ClassVar[str] = "{server: URL, name: ...}"

    server: str = Field(min_length=8, max_length=2000, description="base URL, up to and with /v1")
    name: str = Field(min_length=1, max_length=500, description="what the server calls the model")
    key_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the API key; null: no key is sent"
    )
    concurrency: int = Field(default=64, ge=1, le=4096, description="requests on their way at a time")
    requests_per_minute: int | None = Field(default=None, ge=1, le=10**7, description="most requests in any minute")
    tokens_per_minute: int | None = Field(default=None, ge=1, le=10**10, description="most tokens of prompts and answers in any minute")
    timeout_s: float = Field(default=600, gt=0, le=86_400, description="longest wait for one answer")
    retries: int = Field(default=6, ge=0, le=100, description="how often a request that failed is sent again; 429 and 503 don't count")
    first_wait_s: float = Field(default=0.5, ge=0.001, le=60, description="wait before the first of them; it doubles each time")
    patience_s: float = Field(default=900, gt=0, le=604_800, description="stop the run when no answer came for so long")
    send_seed: bool = Field(default=True, description="false: for servers that refuse the parameter seed")
    extra: dict[str, Any] = Field(default={}, max_length=64, description="more fields of every request, such as chat_template_kwargs")
    identity: str | None = Field(
        default=None,
        min_length=1,
        description="name under which answers are kept; null: server and name. Set it where the URL changes and the model does not",
    )

    @field_validator("server")
    @classmethod
    def _url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL that begins with http:// or https://, such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("must not hold a user name, a password or a query: recipes and locks hold no secrets. Use key_env")
        return url

    @field_validator("extra")
    @classmethod
    def _no_secrets(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in extra:
            if key.lower() in _SECRETS:
                raise ValueError(f"must not hold {key!r}: recipes and locks hold no secrets. Use key_env")
        return extra


class BatchModel(ServerModel):
    """A model behind a provider's batch API: slower and cheaper, asked in files."""

    in_words: ClassVar[str] = "{batch: API, server: URL, name: ...}"

    batch: str = Field(default="openai", min_length=1, description="which API: openai, or a name that an installed package registers")
    size: int = Field(default=10_000, ge=1, le=100_000, description="questions of one batch")
    poll_s: float = Field(default=30, gt=0, le=3600, description="how often to ask whether a batch is done")


class LocalModel(_Model):
    """A checkpoint folder, run in this process."""

    in_words: ClassVar[str] = "{folder: ...}"

    folder: str = Field(
        min_length=1, description="a model of the recipe, or a folder that transformers loads", json_schema_extra={"path": "optional"}
    )
    engine: Literal["auto", "transformers", "vllm"] = Field(
        default="auto", description="auto: vLLM where it is installed and there is a GPU, else transformers"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="of transformers; auto: the first GPU, else the CPU")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto: float32 on a CPU, bfloat16 on a GPU"
    )
    batch_tokens: int = Field(default=32_768, ge=64, le=1 << 26, description="of transformers: tokens of prompts and answers in one batch")
    batch_rows: int = Field(default=512, ge=1, le=65_536, description="of transformers: answers in one batch")
    tensor_parallel: int = Field(default=1, ge=1, le=64, description="of vLLM: GPUs for one copy of the model")
    gpu_memory: float = Field(default=0.9, gt=0, le=1, description="of vLLM: share of the GPU's memory that it takes")
    max_context: int | None = Field(default=None, ge=8, le=1 << 24, description="longest prompt and answer together; null: the model's own")


class PluginModel(_Model):
    """A Python function of a file given with --plugin, marked with `formats.generation.plugin.answers`."""

    in_words: ClassVar[str] = "{plugin: NAME}"

    plugin: str = Field(min_length=1, description="its name")
    concurrency: int = Field(default=8, ge=1, le=1024, description="calls at a time, each in a thread; 1: one after the other")
    retries: int = Field(default=2, ge=0, le=100, description="how often a call that raised is tried again")


class RecordedModel(_Model):
    """Answers that were recorded: JSON lines of {prompt, answers}."""

    in_words: ClassVar[str] = "{recorded: FILE}"

    recorded: str = Field(min_length=1, description="the file", json_schema_extra={"path": True})


def _tag(given: Any) -> str | None:
    """Which of the settings a value means: by its telling key, so that mistakes are told of that one alone."""
    if isinstance(given, str):
        return "(text)"
    keys = given if isinstance(given, dict) else type(given).model_fields if isinstance(given, _Model) else ()
    return next((f"({key})" for key in ("batch", "server", "folder", "plugin", "recorded") if key in keys), None)  # no key has such a name


ModelSettings = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[ServerModel, Tag("(server)")]
    | Annotated[BatchModel, Tag("(batch)")]
    | Annotated[LocalModel, Tag("(folder)")]
    | Annotated[PluginModel, Tag("(plugin)")]
    | Annotated[RecordedModel, Tag("(recorded)")],
    Discriminator(_tag),
]


def local(model: ModelSettings) -> LocalModel | None:
    """The settings of a model that runs in this process; None for others."""
    if isinstance(model, str):
        return LocalModel(folder=model)
    return model if isinstance(model, LocalModel) else None


def is_folder(name: str) -> bool:
    """Whether a name is a path to a folder. A bare one is a node: paths of recipes are absolute, whatever lies in the working folder."""
    return os.sep in name and os.path.isdir(name)


def node_names(model: ModelSettings) -> tuple[str, ...]:
    """Names that may be models of the recipe."""
    mine = local(model)
    return () if mine is None or is_folder(mine.folder) else (mine.folder,)


def assets(model: ModelSettings) -> tuple[Asset, ...]:
    """Files that decide the answers. Raises RecipeError for a plugin's function that nobody defined."""
    if isinstance(model, RecordedModel):
        return (Asset(model.recorded, "recording"),)
    if isinstance(model, PluginModel):
        from formats.generation.plugin import function_of

        return (Asset(function_of(model.plugin).path, "plugin"),)
    mine = local(model)
    if mine is None or not is_folder(mine.folder):
        return ()
    return tuple(Asset(str(file), "model") for file in model_files(mine.folder))


def model_files(folder: str) -> list[Path]:
    """The files of a checkpoint that decide what it says."""
    kinds = (".safetensors", ".json", ".jinja", ".model", ".txt")
    return sorted(f for f in Path(folder).iterdir() if f.is_file() and f.suffix in kinds and not f.name.startswith("_"))


def called(model: ModelSettings, ctx: Context) -> str:
    """The model's name for provenance: a server's word for it, `sft0@1f2e3d4c5b6a` for one of the recipe."""
    mine = local(model)
    if mine is not None:
        return os.path.basename((ctx.model(mine.folder) or mine.folder).rstrip("/"))
    if isinstance(model, ServerModel):
        return model.name
    return model.plugin if isinstance(model, PluginModel) else "recorded"


def make_backend(model: ModelSettings, ctx: Context) -> Backend:
    """Load what answers. Raises RecipeError, MissingDependency."""
    if isinstance(model, BatchModel):
        from formats.generation.batches import BatchBackend

        return BatchBackend(model)
    if isinstance(model, ServerModel):
        from formats.generation.server import ServerBackend

        return ServerBackend(model)
    if isinstance(model, PluginModel):
        from formats.generation.plugin import PluginBackend

        return PluginBackend(model)
    if isinstance(model, RecordedModel):
        from formats.generation.recorded import RecordedBackend

        return RecordedBackend(model)
    return _local_backend(model if isinstance(model, LocalModel) else LocalModel(folder=model), ctx)


def _local_backend(model: LocalModel, ctx: Context) -> Backend:
    folder = ctx.model(model.folder) or model.folder
    if not os.path.isdir(folder):
        raise RecipeError(f"model: {model.folder!r} is neither a model of the recipe nor a folder. A server is {{server: URL, name: ...}}.")
    names = [f"{path.name}#{file_digest(str(path))}" for path in model_files(folder)]
    from formats.generation.local import choose_engine

    return choose_engine(model, folder, names)
