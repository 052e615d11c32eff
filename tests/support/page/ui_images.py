"""Images that the bundled model knows, drawn in a few shapes."""

from __future__ import annotations

from PIL import Image, ImageDraw

from tests.support.images.service_images import encode

SKY, SEA, HULL, WHITE, RED, GREY = "#78aae6", "#285478", "#3c1e1e", "#f2f2f2", "#c83c28", "#bec3c8"


def ship(format: str = "PNG", size: tuple[int, int] = (256, 256)) -> bytes:
    """A file with a steamer on the sea."""
    image = Image.new("RGB", (256, 256), "#b0c8e2")
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 150, 256, 256], fill=SEA)
    draw.polygon([(20, 120), (236, 120), (210, 170), (50, 170)], fill=HULL)
    draw.rectangle([20, 112, 236, 124], fill="#ebebeb")
    draw.rectangle([80, 80, 170, 114], fill=WHITE)
    draw.rectangle([110, 45, 140, 82], fill=RED)
    return encode(image.resize(size), format)


def airplane(format: str = "PNG") -> bytes:
    """A file with an airplane in the sky."""
    image = Image.new("RGB", (256, 256), SKY)
    draw = ImageDraw.Draw(image)
    draw.polygon([(30, 120), (210, 112), (240, 128), (210, 140), (30, 134)], fill="#e1e4e8")
    draw.polygon([(110, 122), (150, 122), (90, 40), (70, 40)], fill=GREY)
    draw.polygon([(110, 132), (150, 132), (90, 215), (70, 215)], fill=GREY)
    draw.polygon([(28, 124), (60, 122), (36, 80), (20, 80)], fill="#aa3c3c")
    return encode(image, format)
