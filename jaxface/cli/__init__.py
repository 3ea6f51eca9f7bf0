"""The command line `jaxface`."""

from __future__ import annotations

import os


def main() -> None:
    """Runs the command line; a user's mistake is one sentence and an exit code."""
    # XLA's remarks on its own compile time; errors come as exceptions.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from jaxface.cli.app import run

    run()


__all__ = ["main"]
