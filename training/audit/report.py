"""Write what an audit found for people: Markdown, HTML, contact sheets, and a table of what to do."""

import csv
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib.figure
from PIL import Image

from ait_lite.checkpoint import write_text
from ait_lite.images.errors import ImageError
from training.audit.findings import TITLES, Finding, Kind
from training.audit.images import SeenImages
from training.audit.memorisation import Memorisation
from training.audit.sheets import Captioned, draw_sheet

_SHOWN: Final = 48  # pairs of a kind on a contact sheet
COLUMNS: Final = (
    "kind", "split", "image", "label", "other_split", "other_image", "other_label", "score", "suggestion", "action",
)  # fmt: skip

_ADVICE: dict[Kind, str] = {
    "leak": "What is in two splits makes a test look better than it is. Remove the images named in the table.",
    "conflict": "One of the two labels is wrong, or the image shows both. Decide, and remove or relabel one.",
    "label": "Left: the image, with its label. Right: the most similar image that has the suggested label. Look, and "
    "move the image if the suggestion is right; a rare view of its own class is no error.",
    "copy": "Copies weigh an image more than others. Remove all but one.",
}


def write_report(
    folder: Path, checkpoint: str, images: SeenImages, findings: Sequence[Finding], memorisation: Memorisation
) -> None:
    """Write ``report.md``, ``report.html``, ``findings.csv``, a sheet for each kind and a histogram of distances.

    Args:
        folder: Where to; it is created.
        checkpoint: Name of the model.
        images: What was looked at.
        findings: What was found.
        memorisation: What the distances say.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_findings(folder / "findings.csv", images, findings)
    sheets: dict[Kind, str] = {}
    for kind in TITLES:
        chosen = [finding for finding in findings if finding.kind == kind][:_SHOWN]
        if chosen:
            sheets[kind] = f"{kind}.png"
            draw_sheet([_pair(images, finding) for finding in chosen], folder / sheets[kind])
    _draw_distances(memorisation, folder / "distances.png")
    blocks = _blocks(checkpoint, images, findings, memorisation, sheets)
    write_text(folder / "report.md", "\n\n".join(markdown for markdown, _ in blocks) + "\n")
    head = f'<meta charset="utf-8"><title>Audit</title><style>{_STYLE}</style>'
    body = "\n".join(page for _, page in blocks)
    write_text(
        folder / "report.html",
        f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n',
    )


def write_findings(path: Path, images: SeenImages, findings: Sequence[Finding]) -> None:
    """Write all findings as CSV, one a line.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for each in findings:
            beside = ("", "", "") if each.other < 0 else _named(images, each.other)
            rows.writerow(
                [each.kind, *_named(images, each.image), *beside, f"{each.score:.4f}", each.suggestion, each.action]
            )


def _named(images: SeenImages, index: int) -> tuple[str, str, str]:
    return images.splits[int(images.split[index])], images.path(index), images.label(index)


def _pair(images: SeenImages, finding: Finding) -> tuple[Captioned, Captioned | None]:
    about = f", or {finding.suggestion}?" if finding.kind == "label" else f", r = {finding.score:.4f}"
    first = _captioned(images, finding.image, about)
    return first, None if finding.other < 0 else _captioned(images, finding.other, "")


def _captioned(images: SeenImages, index: int, about: str) -> Captioned:
    split, path, label = _named(images, index)
    try:
        image = images.image(index)
    except (ImageError, OSError):  # it was there a moment ago
        image = Image.new("RGB", (1, 1), "grey")
    return Captioned(image, (label + about, split, Path(path).name))


def _draw_distances(memorisation: Memorisation, path: Path) -> None:
    figure = matplotlib.figure.Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for distances, name, colour, line in (
        (memorisation.train_distances, "training images", "#0072b2", "-"),
        (memorisation.test_distances, "other images", "#d55e00", "--"),
    ):
        if len(distances):
            axes.hist(
                distances.numpy(), bins=60, histtype="step", density=True, label=name, color=colour, linestyle=line
            )
    axes.axvline(memorisation.radius, color="#555555", linestyle=":", label="radius")
    axes.set(xlabel="distance to the nearest (other) training image", ylabel="density")
    axes.legend()
    figure.savefig(path, dpi=120)


def _blocks(
    checkpoint: str,
    images: SeenImages,
    findings: Sequence[Finding],
    memorisation: Memorisation,
    sheets: dict[Kind, str],
) -> list[tuple[str, str]]:
    """Make the report's parts, each in Markdown and in HTML."""
    sizes = ", ".join(f"{name}: {len(samples):,}" for name, samples in images.parts.items())
    blocks = [
        (f"# Audit of {checkpoint}", f"<h1>Audit of {html.escape(checkpoint)}</h1>"),
        _paragraph(f"{len(images):,} images ({sizes}), {len(images.classes)} classes. All findings: findings.csv."),
    ]
    counts = {kind: sum(finding.kind == kind for finding in findings) for kind in TITLES}
    blocks.append(_table(("finding", "number"), [(TITLES[kind], f"{count:,}") for kind, count in counts.items()]))
    for kind, file in sheets.items():
        shown = min(counts[kind], _SHOWN)
        blocks.append((f"## {TITLES[kind]}", f"<h2>{TITLES[kind]}</h2>"))
        blocks.append(_paragraph(f"{_ADVICE[kind]} Shown: {shown} of {counts[kind]:,}."))
        blocks.append((f"![{TITLES[kind]}]({file})", f'<img src="{file}" alt="{TITLES[kind]}">'))
    blocks.append(("## Memorisation", "<h2>Memorisation</h2>"))
    blocks.append(
        _paragraph(
            "A model that has stored its training images meets a changed training image near its original. The AUC "
            "is the probability that a mirrored training image is nearer to the training images than a mirrored test "
            "image; one half is no memorisation, though a model that is blind to mirroring raises it too."
        )
    )
    shown_values = [
        ("accuracy on training images", f"{memorisation.train_accuracy:.2%}"),
        ("accuracy on the others", _share(memorisation.test_accuracy)),
        ("memorisation AUC", "–" if memorisation.auc is None else f"{memorisation.auc:.3f}"),
        ("radius (half the median distance of training images)", f"{memorisation.radius:.3f}"),
        ("smallest distance of two training images", f"{memorisation.smallest:.4f}"),
    ]
    blocks.append(_table(("quantity", "value"), shown_values))
    blocks.append(("![Distances](distances.png)", '<img src="distances.png" alt="Distances">'))
    return blocks


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _paragraph(text: str) -> tuple[str, str]:
    return text, f"<p>{html.escape(text)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, str]:
    lines = [head, ["---"] * len(head), *rows]
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    cells = "".join(
        f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in line)}</tr>"
        for tag, line in [("th", head), *(("td", row) for row in rows)]
    )
    return markdown, f"<table>{cells}</table>"


_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "img{max-width:100%}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3rem .7rem;text-align:left}"
)
