"""``python -m training``: the command ``ait train`` by another name, for ``torchrun -m training``."""

from ait_cli.main import run_command

if __name__ == "__main__":
    run_command("train", "python -m training")
