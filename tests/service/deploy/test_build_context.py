"""What the Dockerfile copies exists and gets into the build's context, and nothing else does."""

from pathlib import Path

ROOT = Path(__file__).parents[3]


def copied() -> set[str]:
    """Names that the Dockerfile copies from the context, not from another stage."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    words = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return {name for names in words for name in names}


def test_the_context_holds_what_the_image_is_made_of() -> None:
    ignored, *rest = (ROOT / ".dockerignore").read_text().split()
    assert ignored == "*"
    assert copied() == {line[1:] for line in rest if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied())
