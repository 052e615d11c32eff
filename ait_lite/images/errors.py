"""What may be wrong with an image."""


class ImageError(ValueError):
    """An image that cannot be used. `kind` is a stable name for programs, the message is for people."""

    kind = "image-error"
    title = "The image cannot be used"


class EmptyImage(ImageError):
    """There are no bytes."""

    kind = "empty-image"
    title = "No image was sent"


class UnsupportedFormat(ImageError):
    """The bytes are not an image in an accepted format."""

    kind = "unsupported-format"
    title = "Not an accepted image format"


class TooManyPixels(ImageError):
    """The image is larger than the limit."""

    kind = "too-many-pixels"
    title = "The image has too many pixels"


class UndecodableImage(ImageError):
    """The format is accepted, but this file is damaged or cannot be shown."""

    kind = "undecodable-image"
    title = "The image cannot be decoded"
