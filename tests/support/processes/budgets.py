"""A budget in questions in place of seconds."""

from training.experiments.budget import Budget, OutOfTime


class Questions(Budget):
    """Says so many times that there is time left, and then no more.

    Args:
        left: How many times.
    """

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def check(self) -> None:
        """Return while there is time."""
        self.left -= 1
        if self.left < 0:
            raise OutOfTime
