"""How commands speak: answers on stdout, as text or JSON; notes and refusals on stderr, in one sentence."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import wraps
from typing import Annotated, Any, Final, NoReturn, ParamSpec, TypeVar

import msgspec
import typer

from dewpond.cli.paper import Paper, plain, short
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.worlds import World

P = ParamSpec("P")
Found = TypeVar("Found")

#: The exit code of a command that did what was asked and could not say so.
UNTOLD: Final = 74
#: Facts of a refusal are quoted up to here.
_LONG: Final = 160

#: The switch every command has.
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]


class AmbiguousName(Failure):
    """Several bear that name; say which one by its number or id."""

    code, kind = "ambiguous_name", Kind.CONFLICT


class Refused(Failure):
    """The command was refused."""

    code, kind = "refused_here", Kind.CONFLICT

    def __init__(self, told: str, code: str = code) -> None:
        self._told = told
        super().__init__()
        self.code = code  # type: ignore[misc]  # one class for every sentence of ours

    @property
    def message(self) -> str:
        return self._told


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a command that failed: a public code, a sentence, and what it is about."""

    code: str
    message: str
    facts: dict[str, Any] = {}

    def __str__(self) -> str:
        told = ", ".join(f"{name} {_quoted(value)}" for name, value in self.facts.items())
        return plain(" ".join((f"{self.message} ({told})" if told else self.message).split()))


def _quoted(value: Any) -> str:
    return ", ".join(map(_quoted, value)) if isinstance(value, list) else short(str(value), _LONG)


def answering(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Run a command's coroutine; a refusal becomes a sentence on stderr and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        code = asyncio.run(command(*args, **kwargs))
        if code:
            raise typer.Exit(code)

    return run


def complaint(error: Exception) -> Complaint | None:
    """What is told of an error; None where the traceback was asked for."""
    if isinstance(error, Failure):
        return Complaint(code=error.code, message=error.message, facts=error.facts)
    if hasattr(error, "format_message"):  # the parser of commands has its own family
        return Complaint(code="wrong_call", message=error.format_message())
    if isinstance(error, (ValueError, RuntimeError, OSError)) and type(error).__module__.startswith("dewpond"):
        return Complaint(code="failed", message=str(error))
    if os.environ.get("DEWPOND_TRACEBACK"):
        return None
    from dewpond.kit.db import CONNECTION_LOST

    told = str(error) or type(error).__name__
    if isinstance(error, UnicodeEncodeError):
        return Complaint(code="not_text", message="That is not text in UTF-8.")
    if isinstance(error, OSError) and error.filename is not None:
        return Complaint(code="file_unusable", message=f"{os.fsdecode(error.filename)}: {error.strerror}.")
    if isinstance(error, CONNECTION_LOST):
        return Complaint(code="database_unreachable", message=f"The database cannot be reached: {told}")
    told = f"Something went wrong inside Dewpond: {type(error).__name__}: {told} (DEWPOND_TRACEBACK=1 shows where)"
    return Complaint(code="broken", message=told)


def complain(told: Complaint, *, as_json: bool) -> None:
    """Say on stderr what went wrong: a sentence, or one line of JSON, the last that is said there."""
    text = msgspec.json.encode({"error": told}, enc_hook=_as_text).decode() if as_json else str(told)
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def note(told: str) -> None:
    """Say something beside the answer."""
    sys.stderr.write(f"{plain(told)}\n")
    sys.stderr.flush()


def refuse(told: str, code: str = "refused_here") -> NoReturn:
    """End the command with this sentence and exit code 1; `code` is what programs go by."""
    raise Refused(told, code)


def _as_text(value: Any) -> str:
    return plain(str(value))


@contextmanager
def patience(told: str) -> Iterator[None]:
    """Show somebody who looks on that a long piece of work goes on; silent where nobody does."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(told):
        yield


def answer(document: Any, as_json: bool, show: Callable[[Paper], None]) -> None:
    """Give the answer: the document as JSON, or what `show` makes of it for a person.

    What was asked for is done by now, and stays done where nobody can be told: that is not exit code 1.
    """
    try:
        with telling():
            if as_json:
                _write_json(document, indent=2)
            else:
                show(Paper())
                sys.stdout.flush()
    except typer.Exit as ended:
        if ended.exit_code:
            raise


def answer_json(document: Any, *, indent: int = 0) -> None:
    """One JSON document on stdout."""
    with telling():
        _write_json(document, indent=indent)


def _write_json(document: Any, *, indent: int) -> None:
    text = msgspec.json.encode(document, enc_hook=str)
    sys.stdout.write((msgspec.json.format(text, indent=indent) if indent else text).decode() + "\n")
    sys.stdout.flush()


@contextmanager
def telling() -> Iterator[None]:
    """While something is said on stdout: where that cannot be, the command ends, with 0 if nobody reads any more."""
    try:
        yield
    except OSError as error:
        # Whatever is left to be said goes nowhere; also what the interpreter flushes at its end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # who reads no further has read enough
            note(f"Done, but the answer could not be written: {error.strerror}.")
            raise typer.Exit(UNTOLD) from None
        raise typer.Exit from None


def moment(at: datetime | None) -> str:
    """A time for a person: Beijing time, as on the wire, to the second."""
    from dewpond.kit.clock import SHANGHAI

    return "—" if at is None else at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def choose(
    found: Sequence[Found], text: str, world: World, *, what: str, call: Callable[[Found], str], guess: bool = True
) -> Found:
    """The one that was meant. Of several a sandbox takes the newest and says so; a live world refuses to guess, and
    so does everybody without `guess`."""
    if not found:
        refuse(f"There is no {what} {short(text)!r}.", f"{what}_not_found")
    if len(found) > 1:
        if not (world.is_sandbox and guess):
            raise AmbiguousName(found=[call(one) for one in found])
        note(f"{len(found)} {what}s are called {short(text)!r}; taking the newest, {call(found[0])}.")
    return found[0]
