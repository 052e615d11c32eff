"""How numbers of things are said."""


def counted(number: int, noun: str) -> str:
    """Say how many there are: ``1 image``, ``1,024 images``.

    Args:
        number: How many.
        noun: What, in the singular; its plural ends in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
