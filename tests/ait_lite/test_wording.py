"""One is not said in the plural."""

import pytest

from ait_lite.wording import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1024, "1,024 images")]
)
def test_a_number_of_things(number: int, said: str) -> None:
    assert counted(number, "image") == said
