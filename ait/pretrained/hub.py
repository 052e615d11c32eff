"""Pretrained weights of timm's models: from this machine where they are, else from the hub, which may be out of reach.

timm asks the hub even for what it has, and waits for most of a minute where there is no network.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg
from torch import nn

# What timm looks for in a repository of the hub, in this order.
_FILES = ("model.safetensors", "pytorch_model.bin")


def create_pretrained(name: str, seconds: float = 5.0, **kwargs: Any) -> nn.Module:
    """Create a timm model with pretrained weights.

    Weights that are on this machine are used as they are, without a network.

    Args:
        name: Of a timm model that has pretrained weights.
        seconds: How long the hub may take to answer before it counts as out of reach.
        **kwargs: Further arguments of ``timm.create_model``.

    Raises:
        FileNotFoundError: The weights are not here, and the hub is out of reach.
        OSError: They cannot be read, or the download fails.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or _is_special(config):
        return timm.create_model(name, pretrained=True, **kwargs)
    kept = _kept(config, kwargs.get("cache_dir"))
    if kept is not None:
        # The model's own way to read weights is for another file than the hub's.
        overlay = {"file": str(kept), "custom_load": False}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)
    problem = _problem(config, seconds)
    if problem:
        raise FileNotFoundError(_message(name, config, problem))
    return timm.create_model(name, pretrained=True, **kwargs)


def cached_weights(name: str, cache: str | Path | None = None) -> Path | None:
    """Find a timm model's pretrained weights where the hub's client keeps what it has downloaded.

    Args:
        name: Of a timm model.
        cache: The folder; None is the client's own.

    Returns:
        The file; None where there is none, or where the weights are no download.
    """
    config = timm.get_pretrained_cfg(name)
    return None if config is None or _is_special(config) else _kept(config, cache)


def _is_special(config: PretrainedCfg) -> bool:
    """Whether a model reads its weights from a file, or from an address, in a way of its own."""
    return bool(config.file or (config.custom_load and not config.hf_hub_id))


def _kept(config: PretrainedCfg, cache: str | Path | None) -> Path | None:
    """Find weights that were downloaded before."""
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        for file in [config.hf_hub_filename] if config.hf_hub_filename else _FILES:
            found = try_to_load_from_cache(repository, file, cache, revision or None)
            if isinstance(found, str):
                return Path(found)
        return None
    address, name = _download(config)
    path = Path(cache or Path(torch.hub.get_dir(), "checkpoints"), name or Path(urlsplit(address).path).name)
    return path if path.is_file() else None


def _download(config: PretrainedCfg) -> tuple[str, str]:
    """Read where weights that are not on the hub lie: the address, and the file's name if it is another."""
    if isinstance(config.url, tuple):
        return config.url
    return config.url or "", ""


def _problem(config: PretrainedCfg, seconds: float) -> str:
    """Say why the host of some weights cannot be reached; empty if it can."""
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        file = config.hf_hub_filename or _FILES[0]
        address = hf_hub_url(repository, file, revision=revision or None, endpoint=constants.ENDPOINT)
        return _within(seconds, lambda: get_hf_file_metadata(address, timeout=seconds))
    request = Request(_download(config)[0], method="HEAD")
    return _within(seconds, lambda: urlopen(request, timeout=seconds).close())


def _within(seconds: float, ask: Callable[[], object]) -> str:
    """Ask a host on a thread of its own, for name resolution knows no time limit; say what went wrong, if anything."""
    outcome: list[str] = []

    def run() -> None:
        try:
            ask()
        except EntryNotFoundError:  # the host answers; the repository keeps its weights under another name
            outcome.append("")
        except Exception as error:  # of the HTTP client, the system or the hub: all mean that weights cannot be had
            outcome.append(str(error).strip().partition("\n")[0] or type(error).__name__)
        else:
            outcome.append("")

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} s"


def _message(name: str, config: PretrainedCfg, problem: str) -> str:
    where = _download(config)[0]
    how = f"download it into {torch.hub.get_dir()}/checkpoints"
    if config.hf_hub_id:
        where = f"{config.hf_hub_id} at {constants.ENDPOINT}"
        how = f"run `hf download {config.hf_hub_id}` where there is one and copy its cache to {constants.HF_HUB_CACHE}"
    return (
        f"{name}: its pretrained weights are not on this machine, and {where} is out of reach ({problem}). "
        f"Connect to the network, or {how}"
    )
