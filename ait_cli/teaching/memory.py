"""``ait memory``: classes taught with a few images, without training."""

from __future__ import annotations

from ait_cli.lazy_group import plain_app
from ait_cli.teaching.memory_examples import correct, forget, list_held, recall, teach
from ait_cli.teaching.memory_whole import create, delete, export, health, import_file, rebind, verify

app = plain_app(help="Teach classes with a few images, without training.", no_args_is_help=True)
app.command("create")(create)
app.command("teach")(teach)
app.command("recall")(recall)
app.command("list")(list_held)
app.command("correct")(correct)
app.command("forget")(forget)
app.command("health")(health)
app.command("verify")(verify)
app.command("export")(export)
app.command("import")(import_file)
app.command("rebind")(rebind)
app.command("delete")(delete)
