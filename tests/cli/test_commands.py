"""The tree of commands: each one explains itself, and each can be read by a program."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from dewpond.cli.commands import app

from .conftest import run


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from _leaves(command.get_command(None, name), (*path, name))


LEAVES = dict(_leaves(typer.main.get_command(app)))

FIXED_FORMS = [
    ("run",),
    ("demo",),
    ("pay",),
    ("world", "show"),
    ("world", "clock", "show"),
    ("world", "clock", "freeze"),
    ("world", "clock", "advance"),
    ("world", "backup"),
    ("world", "restore"),
    ("world", "reset"),
    ("merchants", "create"),
    ("people", "create"),
    ("events", "tail"),
    ("events", "stuck"),
    ("events", "release"),
    ("merchants", "certify"),
    ("deliveries", "list"),
    ("deliveries", "resend"),
    ("ledger", "check"),
    ("ledger", "walk"),
    ("pool", "show"),
]


@pytest.mark.parametrize("path", FIXED_FORMS, ids=" ".join)
def test_the_fixed_forms_are_there(path: tuple[str, ...]) -> None:
    assert path in LEAVES


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    ran = run(*path, "--help")
    assert ran.code == 0
    assert run(*path, "-h").out == ran.out
    assert f"Usage: dewpond {' '.join(path)}" in ran.out
    assert "Example: dewpond " + " ".join(path) in " ".join(ran.out.split())
    assert "--json" in ran.out


def test_the_first_help_names_every_command_and_where_to_begin() -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in {path[0] for path in LEAVES}:
        assert f" {name} " in ran.out
    assert "dewpond run" in ran.out


@pytest.mark.parametrize(
    ("_case", "words"),
    [
        ("an unknown command", ["brew"]),
        ("an unknown option", ["ledger", "check", "--loud"]),
        ("a missing argument", ["people", "create"]),
        ("a missing option", ["pay", "abc"]),
    ],
)
def test_a_wrong_call_ends_with_two_and_says_so_on_stderr(_case: str, words: list[str]) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_the_version_is_told() -> None:
    assert run("--version").out.startswith("dewpond 0.")
