"""Say what was sent in place of an image, and how to send one."""

from __future__ import annotations

from typing import Final

from ait_lite.images.content import Content

_SEND: Final = "Send the bytes of the file themselves: curl --data-binary @cat.jpg URL, or curl -F file=@cat.jpg URL."

_ADVICE: Final[dict[Content, str]] = {
    "json": f"It is JSON. {_SEND} JSON goes to /v2/models/MODEL/infer.",
    "data-url": f"It is a data URL. Decode what follows the comma from base64. {_SEND}",
    "base64": f"It is an image in base64. Decode it: base64 -d cat.txt > cat.jpg. {_SEND}",
    "path": f"It is the name of a file, not its content: the @ before it is missing. {_SEND}",
    "text": f"It is text. {_SEND}",
    "html": "It is a web page. Download the image that it shows.",
    "svg": "It is an SVG drawing. Draw it as a PNG first: rsvg-convert cat.svg > cat.png.",
    "pdf": "It is a PDF document. Take an image out of it: pdftoppm -png file.pdf page.",
    "gif": "It is a GIF. Save it as PNG: magick cat.gif[0] cat.png.",
    "bmp": "It is a BMP. Save it as PNG: magick cat.bmp cat.png.",
    "tiff": "It is a TIFF. Save it as PNG: magick cat.tif[0] cat.png.",
    "heic": "It is HEIC, as iPhones save it. Convert it: magick cat.heic cat.jpg.",
    "avif": "It is AVIF. Convert it: magick cat.avif cat.jpg.",
    "jxl": "It is JPEG XL. Convert it: djxl cat.jxl cat.jpg.",
    "gzip": "It is compressed with gzip. Say so with the header Content-Encoding: gzip, or unpack it.",
    "zip": "It is a ZIP archive. Unpack it, and send the images in it.",
    "video": "It is a video. Send one of its frames: ffmpeg -i cat.mp4 -frames:v 1 cat.jpg.",
}


def advice(content: Content | None) -> str:
    """Say what the content is and what to do about it, as sentences after another; empty if that is not known."""
    return f" {_ADVICE[content]}" if content else ""
