"""A prepared model answers where there is no torch, and nothing is sent anywhere meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.model_process.classifier import Classifier
from service.repository.folders import locate
from tests.support.images.service_images import scene

_PROGRAM = """
import json, sys

calls = []
SENDS = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.fork", "os.posix_spawn")
sys.addaudithook(lambda event, arguments: calls.append([event, repr(arguments)]) if event in SENDS else None)
sys.modules.update(dict.fromkeys(("torch", "timm", "torchvision", "safetensors.torch")))
from service.model_process.classifier import Classifier
from service.model_process.runtimes.choice import Wanted
from service.repository.folders import locate
from tests.support.images.service_images import scene

classifier = Classifier(locate(sys.argv[1]), wanted=Wanted(sys.argv[2]), threads=2)
labels = classifier.classify([scene()] * 3)
print(json.dumps([classifier.choice.model.runtime, labels, calls, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_it_answers_and_nothing_is_sent(
    prepared_folder: Path, model_folder: Path, tmp_path: Path, runtime: str
) -> None:
    telemetry = tmp_path / "openvino_telemetry"  # stands for the package, whether or not that is installed
    telemetry.mkdir()
    (telemetry / "__init__.py").write_text("raise SystemExit('it is used')")
    command = [sys.executable, "-c", _PROGRAM, str(prepared_folder), runtime]
    path = f"{tmp_path}:{Path(__file__).parents[4]}"
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    used, labels, calls, modules = json.loads(done.stdout.splitlines()[-1])
    assert used == runtime
    assert calls == []
    assert not {"ait", "openvino_telemetry.main"} & set(modules)
    for found, expected in zip(labels, Classifier(locate(model_folder)).classify([scene()] * 3), strict=True):
        assert dict(map(tuple, found)) == pytest.approx(dict(expected), abs=1e-3)
