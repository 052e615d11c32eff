"""Classify images through the service, with the standard library alone.

    python examples/client.py photo.jpg other.png
    python examples/client.py --url http://127.0.0.1:8000 --top-k 3 photo.jpg

Set AIT_KEY to an API key where the server asks for one.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ATTEMPTS = 5


def classify(url: str, image: bytes, top_k: int = 5, key: str | None = None) -> dict[str, Any]:
    """Send one image; try again when the server is busy.

    Args:
        url: Address of the server.
        image: An encoded JPEG, PNG or WebP image.
        top_k: Number of labels wanted.
        key: API key, if the server needs one.

    Returns:
        The decoded JSON answer.

    Raises:
        urllib.error.HTTPError: The server refused the image, or stayed busy.
    """
    headers = {"Content-Type": "application/octet-stream"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{url}/v1/classify?top_k={top_k}", data=image, headers=headers)
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or attempt == ATTEMPTS - 1:
                raise
            time.sleep(float(error.headers.get("Retry-After", "1")))
    raise AssertionError("unreachable")


def reason(error: urllib.error.HTTPError) -> str:
    """Say why the server refused: what its problem document tells, else the status."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def main() -> None:
    """Print the labels of each image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--top-k", type=int, default=5)
    args = parser.parse_args()
    for path in args.images:
        try:
            answer = classify(args.url, path.read_bytes(), args.top_k, os.environ.get("AIT_KEY"))
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {reason(error)}")
        except OSError as error:  # the image cannot be read, or nobody answers
            sys.exit(f"{path}: {error}")
        labels = answer["predictions"][0]["labels"]
        print(f"{path}: " + "  ".join(f"{each['label']} {each['score']:.1%}" for each in labels))


if __name__ == "__main__":
    main()
