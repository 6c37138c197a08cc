"""The terminal face: what an operator may ask and do, and how a stranger's test suite drives a sandbox."""

__all__ = ["main"]


def main() -> None:
    """The door of the terminal: runs a command and ends the process with its exit code."""
    from dewpond.cli.commands import main  # only a terminal pays for it, not the children of `run`

    main()
