"""The installed ``ait`` command."""

import sys
from pathlib import Path
from typing import Final

AIT: Final = str(Path(sys.executable).with_name("ait"))
