"""How commands speak: answers on stdout, as text or JSON; notes and refusals on stderr, in one sentence."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec, TypeVar
from uuid import UUID

import msgspec
import typer

from dewpond.kit.failures import Failure, Kind
from dewpond.kit.worlds import World

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

P = ParamSpec("P")
Found = TypeVar("Found")

#: The switch every command has.
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]


class AmbiguousName(Failure):
    """Several bear that name; say which one by its number or id."""

    code, kind = "ambiguous_name", Kind.CONFLICT


class Refused(Failure):
    """The command was refused."""

    code, kind = "refused_here", Kind.CONFLICT

    def __init__(self, told: str) -> None:
        self._told = told
        super().__init__()

    @property
    def message(self) -> str:
        return self._told


def answering(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Run a command's coroutine; a refusal becomes a sentence on stderr and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code = asyncio.run(command(*args, **kwargs))
        if code:
            raise typer.Exit(code)

    return run


def sentence(error: Exception) -> str | None:
    """What a person is told of an error; None where the traceback was asked for."""
    if isinstance(error, Failure):
        return str(error)
    if isinstance(error, (ValueError, RuntimeError, OSError)) and type(error).__module__.startswith("dewpond"):
        return str(error)
    if os.environ.get("DEWPOND_TRACEBACK"):
        return None
    from dewpond.kit.db import CONNECTION_LOST

    told = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)):
        return told.partition("] ")[2] or told
    if isinstance(error, CONNECTION_LOST):
        return f"The database cannot be reached: {told}"
    return f"Something went wrong inside Dewpond: {type(error).__name__}: {told} (DEWPOND_TRACEBACK=1 shows where)"


def note(told: str) -> None:
    """Say something beside the answer."""
    sys.stderr.write(f"{told}\n")
    sys.stderr.flush()


def refuse(told: str) -> NoReturn:
    """End the command with this sentence and exit code 1."""
    raise Refused(told)


def answer(document: Any, as_json: bool, show: Callable[["Console"], None]) -> None:
    """Give the answer: the document as JSON, or what `show` makes of it for a person."""
    if as_json:
        answer_json(document, indent=2)
    else:
        show(console())


def answer_json(document: Any, *, indent: int = 0) -> None:
    """One JSON document on stdout."""
    text = msgspec.json.encode(document, enc_hook=str)
    sys.stdout.write((msgspec.json.format(text, indent=indent) if indent else text).decode() + "\n")
    sys.stdout.flush()


def console() -> "Console":
    """Where a person reads; plain text where stdout is not a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(highlight=False, width=width, soft_wrap=False)


def table(*headings: str, title: str | None = None) -> "Table":
    """A table in the house's dress; a heading that begins with `>` is a column of figures."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in headings:
        figures = heading.startswith(">")
        made.add_column(heading.removeprefix(">"), justify="right" if figures else "left", overflow="fold")
    return made


def moment(at: datetime | None) -> str:
    """A time for a person: Beijing time, as on the wire, to the second."""
    from dewpond.kit.clock import SHANGHAI

    return "—" if at is None else at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def choose(found: Sequence[Found], text: str, world: World, *, what: str, call: Callable[[Found], str]) -> Found:
    """The one that was meant. Of several a sandbox takes the newest and says so; a live world refuses to guess."""
    if not found:
        refuse(f"There is no {what} {text!r}.")
    if len(found) > 1:
        if not world.is_sandbox:
            raise AmbiguousName(found=", ".join(call(one) for one in found))
        note(f"{len(found)} {what}s are called {text!r}; taking the newest, {call(found[0])}.")
    return found[0]


def plain(value: UUID, prefix: str) -> str:
    """An id as people see it."""
    from dewpond.kit.ids import to_text

    return to_text(prefix, value)
