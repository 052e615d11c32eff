"""Serve the same model with what one would write in an afternoon: FastAPI and ONNX Runtime, an image a call.

It is run with `python -m service.benchmark.rivals.onnxruntime_app`; the variable GRAPH names the ONNX file of the
model.
"""

# FastAPI reads annotations as objects, so they must not be postponed here.

import argparse
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import Body, FastAPI
from PIL import Image

from ait_lite.images.crop import Cropping
from ait_lite.images.normalise import Normalising

PROCESSES = len(os.sched_getaffinity(0))  # with a thread each: faster than one with as many threads
app = FastAPI()


def load(model: Path, graph: Path) -> None:
    """Read the model's configuration and open its graph."""
    config = json.loads((model / "config.json").read_text())
    data = config["pretrained_cfg"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    app.state.session = onnxruntime.InferenceSession(graph, options)
    app.state.crop, app.state.normalise = Cropping(data), Normalising(data)
    app.state.labels = config.get("label_names") or []
    app.state.temperature = config.get("temperature") or 1.0


@app.get("/health")
def health() -> str:
    """Answer once the model is loaded."""
    return "ok"


@app.post("/predict")
def predict(image: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict[str, Any]:
    """Classify one image; FastAPI calls this on a thread of its pool."""
    pixels = app.state.crop(Image.open(BytesIO(image)).convert("RGB"))
    batch = app.state.normalise(pixels[None])
    logits = app.state.session.run(["logits"], {"pixels": batch})[0][0] / app.state.temperature
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    best = np.argsort(-scores)[:5].tolist()
    labels = [{"label": _name(index), "score": float(scores[index])} for index in best]
    return {"predictions": [{"labels": labels}]}


def _name(index: int) -> str:
    return str(app.state.labels[index]) if index < len(app.state.labels) else str(index)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    os.environ["MODEL"] = str(arguments.model)
    host = os.environ.get("HOST", "127.0.0.1")
    here = "service.benchmark.rivals.onnxruntime_app:loaded"
    uvicorn.run(here, factory=True, host=host, port=arguments.port, workers=PROCESSES, log_level="warning")


def loaded() -> FastAPI:
    """Make the application in one of uvicorn's processes."""
    load(Path(os.environ["MODEL"]), Path(os.environ["GRAPH"]))
    return app


if __name__ == "__main__":
    main()
