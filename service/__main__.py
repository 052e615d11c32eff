"""`python -m service`: serve models over HTTP."""

from __future__ import annotations

import argparse
import sys

from service.settings import Settings


def main() -> int:
    """Read the command line and serve; return the exit code."""
    knobs = "\n".join(f"  {field.description} [{field.default}]" for field in Settings.model_fields.values())
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description=__doc__,
        epilog=f"environment variables, which may also stand in a file .env, with their defaults:\n{knobs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (HOST; default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="TCP port (PORT; default 8000)")
    parser.add_argument("--model", help="checkpoint folder or bundled model (AIT_MODEL)")
    parser.add_argument("--models", help="folder of models, <model>/<version>/ (AIT_MODELS)")
    parser.add_argument("--workers", type=int, help="server processes (AIT_WORKERS; default 1)")
    arguments = parser.parse_args()

    from service.server.run import serve  # after parsing: this takes longer

    return serve(arguments.host, arguments.port, arguments.model, arguments.models, arguments.workers)


if __name__ == "__main__":
    sys.exit(main())
