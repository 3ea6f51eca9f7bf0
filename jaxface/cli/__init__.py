"""The command line `jaxface`."""

from __future__ import annotations


def main() -> None:
    """Runs the command line; a user's mistake is one sentence and an exit code."""
    from jaxface.cli.app import run

    run()


__all__ = ["main"]
