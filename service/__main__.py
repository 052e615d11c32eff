"""``python -m service``: the command ``ait serve`` by another name."""

from ait_cli.main import run_command

if __name__ == "__main__":
    run_command("serve", "python -m service")
