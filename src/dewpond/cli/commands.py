"""The tree of commands. A group's file is read only when that group is asked for: `--help` aside, that is one file."""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

import typer
from typer.core import TyperGroup

from dewpond import __version__

#: Command to the file it lives in and its line in the help.
_COMMANDS: Final = {
    "run": ("run", "Start Dewpond here: database, servers, worker."),
    "demo": ("demo", "Play the tea shop's story, step by step."),
    "world": ("worlds", "Clock, backup, restore, reset, keys."),
    "merchants": ("merchants", "Merchants, their keys and certificates."),
    "staff": ("staff", "Who works at the desk and at merchants."),
    "people": ("people", "People, their wallets and PINs."),
    "pay": ("pay", "Pay as a person, the way a phone does."),
    "pool": ("pool", "Who settled in a merchant's pool."),
    "ledger": ("ledger", "Books: check, balances, every fen's way."),
    "events": ("events", "What happened in this world."),
    "deliveries": ("deliveries", "What merchants were told, and how it went."),
}


class _Commands(TyperGroup):
    """Knows every command by name and loads it when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        module, told = _COMMANDS[cmd_name]
        command = typer.main.get_command(import_module(f"dewpond.cli.{module}").app)
        command.name = cmd_name
        command.short_help = told
        return command


app = typer.Typer(
    cls=_Commands,
    name="dewpond",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A commerce pool that belongs to its merchant and speaks WeChat Pay's wire.",
    epilog="Begin with: dewpond run — and in another terminal: dewpond demo",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dewpond {__version__}")
        raise typer.Exit


@app.callback()
def _dewpond(
    version: bool = typer.Option(False, "--version", help="Show the version.", callback=_version, is_eager=True),
) -> None:
    """Dewpond finds the world of DEWPOND_HOME (or of DEWPOND_DATABASE_URL) by itself."""


def main() -> None:
    """The door of the terminal: runs a command and ends the process with its exit code."""
    from dewpond.cli.terminal import complain, complaint

    as_json = "--json" in sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name in letters that this terminal has not is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(prog_name="dewpond", standalone_mode=not as_json)
    except Exception as error:
        told = complaint(error)
        if told is None:
            raise
        complain(told, as_json=as_json)
        sys.exit(getattr(error, "exit_code", 1))
    sys.exit(code if isinstance(code, int) else 0)
