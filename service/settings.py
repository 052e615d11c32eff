"""Read the settings of the service from the environment or from a `.env` file.

The environment wins over the file, and keyword arguments win over both. An empty variable counts as unset.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import SettingsError

Runtime = Literal["auto", "torch", "onnxruntime", "openvino"]
Precision = Literal["fp32", "bf16", "int8", "auto"]

_PREFIX: Final = "AIT_"
_FILE: Final = ".env"
# How alike a name must be to that of a setting to be taken for it, misspelt. Kubernetes and other programs have
# variables of this prefix too.
_ALIKE: Final = 0.8


class Settings(BaseSettings):
    """Settings of one server process. Each field is the environment variable named in its description."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_file=_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("AIT_HOST", "HOST"),
        description="HOST (or AIT_HOST): address to listen on; 0.0.0.0 listens on every interface.",
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("AIT_PORT", "PORT"),
        description="PORT (or AIT_PORT): TCP port to listen on; 0 lets the system choose one.",
    )
    model: str | None = Field(
        None,
        description=(
            "AIT_MODEL: the model that answers where a request names none: a checkpoint folder, the name of a "
            "bundled model, or of one in AIT_MODELS; unset, the first there is."
        ),
    )
    models: str | None = Field(
        None,
        description=(
            "AIT_MODELS: a folder of models to serve, each in <model>/<version>/. The highest version answers "
            "where a request names none."
        ),
    )
    reload_seconds: float = Field(
        5.0,
        ge=0,
        description=(
            "AIT_RELOAD_SECONDS: how often AIT_MODELS is looked through for models that were added, changed or "
            "removed; 0 is never."
        ),
    )
    max_models: int = Field(
        8, ge=1, description="AIT_MAX_MODELS: most models, each version counted, that are loaded at the same time."
    )
    load_seconds: float = Field(
        300.0, gt=0, description="AIT_LOAD_SECONDS: time that loading a model may take before it is given up."
    )
    device: str = Field(
        "auto",
        description="AIT_DEVICE: torch device of the model; auto is cuda where there is one, else cpu.",
    )
    runtime: Runtime = Field(
        "auto",
        description=(
            "AIT_RUNTIME: what models run in: torch, onnxruntime or openvino; auto is the fastest on this machine of "
            "those that are installed and answer as torch does. A model's serving.json may say otherwise."
        ),
    )
    precision: Precision = Field(
        "fp32",
        description=(
            "AIT_PRECISION: what models compute in: fp32, bf16 or int8, which are used only where their answers "
            "agree with fp32; auto is the fastest that does. A model's serving.json may say otherwise."
        ),
    )
    cache: str | None = Field(
        None,
        description=(
            "AIT_CACHE: folder where prepared models are kept from start to start; unset, the user's cache. Where it "
            "cannot be written to, a private folder among temporary files or in /dev/shm."
        ),
    )
    explain: Literal["auto", "off"] = Field(
        "auto",
        description="AIT_EXPLAIN: off answers no request for an explanation; auto has models in torch for them.",
    )
    torch_threads: int = Field(
        0,
        ge=0,
        description="AIT_TORCH_THREADS: threads of a forward pass; 0 is the processors this process may use.",
    )
    decode_threads: int = Field(
        0,
        ge=0,
        description=(
            "AIT_DECODE_THREADS: images decoded at the same time; 0 is one a processor, at most 8. Each "
            "may hold 15 bytes a pixel."
        ),
    )
    max_batch: int = Field(32, ge=1, description="AIT_MAX_BATCH: most images in one forward pass.")
    max_delay_ms: float = Field(
        5.0,
        ge=0,
        description=(
            "AIT_MAX_DELAY_MS: most milliseconds that an idle model waits for more images under load. It waits "
            "for less where that does not pay, and never for a request that is alone."
        ),
    )
    max_queue: int = Field(
        256, ge=1, description="AIT_MAX_QUEUE: most images that wait for a model; more are answered with a 429."
    )
    deadline_seconds: float = Field(
        30.0,
        gt=0,
        description=(
            "AIT_DEADLINE_SECONDS: time from the head of a request until it is given up with a 504. A request may "
            "ask for less in a header X-Request-Timeout, in seconds."
        ),
    )
    stuck_seconds: float = Field(
        120.0,
        gt=0,
        description=(
            "AIT_STUCK_SECONDS: time that a batch may take in a model. A model that takes longer is taken for "
            "hung, and its process is restarted."
        ),
    )
    hung_seconds: float = Field(
        10.0,
        gt=0,
        description=(
            "AIT_HUNG_SECONDS: time after which a server process that does not react is killed and replaced, where "
            "there are several; likewise the process that starts models."
        ),
    )
    max_head_bytes: int = Field(
        65_536,
        ge=1024,
        description="AIT_MAX_HEAD_BYTES: most bytes of a request's line and header fields; beyond, it answers 431.",
    )
    max_headers: int = Field(
        100, ge=8, description="AIT_MAX_HEADERS: most header fields of a request; more are answered with a 431."
    )
    head_seconds: float = Field(
        10.0,
        gt=0,
        description=(
            "AIT_HEAD_SECONDS: time until the head of a request is complete, and until the rest of a body has come "
            "that was answered before; the connection is closed then."
        ),
    )
    write_seconds: float = Field(
        20.0,
        gt=0,
        description="AIT_WRITE_SECONDS: time that a client may leave an answer unread before it is disconnected.",
    )
    max_connections: int = Field(
        0,
        ge=0,
        description=(
            "AIT_MAX_CONNECTIONS: most open connections of a server process; 0 is what the limit on open files leaves."
            " Beyond it, those that have waited longest without a request are closed."
        ),
    )
    tls_cert: str | None = Field(
        None,
        description=(
            "AIT_TLS_CERT: a PEM file with a certificate and those that vouch for it; the server then answers HTTPS. "
            "It is read at the start."
        ),
    )
    tls_key: str | None = Field(
        None,
        description="AIT_TLS_KEY: a PEM file with the certificate's private key; unset, AIT_TLS_CERT holds that too.",
    )
    allowed_hosts: str = Field(
        "",
        description=(
            "AIT_ALLOWED_HOSTS: further host names, separated by commas, that a server on a loopback address answers "
            "to, such as those of a reverse proxy; *.example.org stands for every name below it, * for all."
        ),
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[\w.~-]+)*/?$",
        description="AIT_ROOT_PATH: the path below which a reverse proxy has the server, such as /models.",
    )
    cors_origins: str = Field(
        "",
        description=(
            "AIT_CORS_ORIGINS: origins, separated by commas, whose pages may ask, such as https://app.example.org; "
            "* is all, unset none."
        ),
    )
    max_body_bytes: int = Field(
        20_000_000,
        ge=1,
        description="AIT_MAX_BODY_BYTES: most bytes of a request body, all files together.",
    )
    max_json_bytes: int = Field(
        4_000_000,
        ge=1,
        description=(
            "AIT_MAX_JSON_BYTES: most bytes of the JSON part of an inference request under /v2; reading it holds "
            "everything else up. Tensors sent as binary data do not count."
        ),
    )
    max_held_bytes: int = Field(
        500_000_000,
        ge=1,
        description=(
            "AIT_MAX_HELD_BYTES: most bytes of request bodies held at the same time, all requests together, and "
            "no more than a quarter of the memory that the container allows; a request that does not fit is answered "
            "with a 429."
        ),
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        description="AIT_MAX_PIXELS: most pixels (width x height) of an image, checked before decoding.",
    )
    max_aspect: float = Field(
        100.0,
        ge=1.0,
        description=(
            "AIT_MAX_ASPECT: most times the longer side of an image may exceed the shorter one. "
            "Resizing the shorter side of a thin strip would blow up the longer one."
        ),
    )
    max_files: int = Field(16, ge=1, description="AIT_MAX_FILES: most files of one multipart request.")
    memories: str | None = Field(
        None,
        repr=False,
        description=(
            "AIT_MEMORIES: where memories of classes are stored: a SQLite file, or postgresql://…; off for none. "
            "Unset, ait/memories.sqlite3 in the user's data folder, made when the first memory is."
        ),
    )
    max_memories: int = Field(64, ge=1, description="AIT_MAX_MEMORIES: most memories.")
    max_memory_examples: int = Field(
        100_000, ge=1, description="AIT_MAX_MEMORY_EXAMPLES: most examples of a memory; more are answered with a 429."
    )
    max_memory_labels: int = Field(1000, ge=1, description="AIT_MAX_MEMORY_LABELS: most labels of a memory.")
    max_memory_bytes: int = Field(
        1_000_000_000,
        ge=1,
        description="AIT_MAX_MEMORY_BYTES: most bytes of a memory's keys and kept images.",
    )
    max_teach_bytes: int = Field(
        100_000_000,
        ge=1,
        description=(
            "AIT_MAX_TEACH_BYTES: most bytes of one request that teaches many images, packed and unpacked, or puts a "
            "memory's file."
        ),
    )
    max_teach_files: int = Field(
        1000, ge=1, description="AIT_MAX_TEACH_FILES: most images of one request that teaches many."
    )
    top_k: int = Field(5, ge=1, description="AIT_TOP_K: labels answered where a request does not say.")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description=(
            "AIT_WORKERS: server processes behind the port. Each has the models loaded; they share the processors. "
            "More than one pays where HTTP and decoding, not the model, keep a processor busy."
        ),
    )
    api_keys: str | None = Field(
        None,
        repr=False,
        description=(
            "AIT_API_KEYS: keys that may ask, separated by commas, each NAME SHA256 [REQUESTS-A-SECOND [BURST]] "
            "[SCOPE]; a scope is recall (the default), teach or admin, and says what the key may do with memories; "
            "unset, and AIT_API_KEYS_FILE too, everybody may. `ait key NAME` makes one."
        ),
    )
    api_keys_file: str | None = Field(
        None,
        description="AIT_API_KEYS_FILE: a file with one such key a line. It is read again when it has changed.",
    )
    metrics_public: bool = Field(
        False, description="AIT_METRICS_PUBLIC: answer /metrics without a key also where keys are asked for."
    )
    admin_key_sha256: str | None = Field(
        None,
        pattern="^[0-9a-fA-F]{64}$",
        repr=False,
        description=(
            "AIT_ADMIN_KEY_SHA256: SHA-256, in hexadecimal, of the key that may load and unload models; unset, "
            "nobody may. `ait key admin` makes one."
        ),
    )
    shutdown_seconds: int = Field(
        30,
        ge=0,
        description="AIT_SHUTDOWN_SECONDS: time that requests in flight get to finish after SIGTERM.",
    )
    access_log: bool = Field(True, description="AIT_ACCESS_LOG: write one log line a request.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto",
        description="AIT_LOG_FORMAT: json writes one object a line, text is for people; auto is text on a terminal.",
    )


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; an override of None is taken as not given.

    Raises:
        SettingsError: A value is out of range or not of the right type, or the file cannot be read.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            field = Settings.model_fields.get(name.lower().removeprefix("ait_"))
            meaning = f" ({field.description})" if field else ""
            given = repr(problem["input"]) if field is None or field.repr else "…"  # it may be a secret
            lines.append(f"{name}={given}: {problem['msg']}{meaning}")
        raise SettingsError("\n".join(lines)) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError(f"{Path(_FILE).absolute()} cannot be read: {reason}. Mend it, or take it away.") from error


def misspelt_settings() -> Iterator[str]:
    """Say of every variable, in the environment or the `.env` file, that is nearly a setting which one it may be."""
    given = {*os.environ, *(dotenv_values(_FILE) if Path(_FILE).is_file() else ())}
    known = [_PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(each for each in given if each.upper().startswith(_PREFIX) and each.upper() not in known):
        if meant := difflib.get_close_matches(name.upper(), known, 1, _ALIKE):
            yield f"{name} is not a setting and is ignored; did you mean {meant[0]}?"
