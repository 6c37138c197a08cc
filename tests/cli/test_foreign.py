"""What comes from outside is shown as it is: it styles, hides and breaks nothing, whatever command tells it."""

import asyncio
import io
import json
import sys
from typing import Any

import asyncpg
import pytest

from dewpond.cli.paper import plain, short
from dewpond.kit.ids import from_text

from .conftest import Ask, Type, work

FOREIGN = [
    "[/red]x",
    "Tea [/b] Shop",
    "[conceal]1800[/conceal][link=https://evil.example]18[/link]",
    "[bold",
    "back\\",
    "[/]\\[",
    ":smile:",
    "\x1b[2J\x1b]0;title\x07",
    "\u202e00.81",
    "two\r\nlines\u2028more",
    "tab\tand \x9b1A",
    "👨\u200d👩\u200d👧",
]


async def _write_down(dsn: str, owner_dsn: str, text: str, person: str, payment: str) -> None:
    """Put a text wherever one from outside may stand, also where today's doors would not let it in."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        payment_id = from_text("pay", payment)
        merchant = await owner.fetchval(
            "update pay.payments set description = $2 where id = $1 returning merchant_id", payment_id, text
        )
        await owner.execute("update identity.people set name = $2 where id = $1", from_text("per", person), text)
        await owner.execute("update merchants.merchants set name = $2 where id = $1", merchant, text)
        await owner.execute("update merchants.apps set name = $2 where merchant_id = $1", merchant, text)
        await owner.execute("update openplatform.webhook_endpoints set url = $2 where merchant_id = $1", merchant, text)
        await owner.execute(
            "update openplatform.delivery_attempts set answer = $2, outcome = $2 where merchant_id = $1", merchant, text
        )
    finally:
        await owner.close()


@pytest.mark.parametrize("text", FOREIGN, ids=ascii)
def test_no_command_takes_foreign_text_for_an_order(
    text: str, ask: Ask, shop: dict[str, Any], dewpond: Type, dsn: str, owner_dsn: str
) -> None:
    number = f"foreign{abs(hash(text))}"[:20]
    person = dewpond("people", "create", "Foreign", "--balance", "30", "--json").json["id"]
    told, open_ = ask(f"{number}1"), ask(f"{number}2", "1.00")
    assert dewpond("pay", told.code_url, "--as", person).code == 0
    work(dsn)
    asyncio.run(_write_down(dsn, owner_dsn, text, person, told.payment))
    asyncio.run(_write_down(dsn, owner_dsn, text, person, open_.payment))
    delivery = dewpond("deliveries", "list", "--most", "1", "--json").json[0]["id"]
    whole = [  # those that tell it on a line of its own, unfolded
        ["people", "show", person],
        ["people", "top-up", person, "1"],
        ["pay", open_.code_url, "--as", person],
        ["merchants", "show", shop["mchid"]],
        ["pool", "show", shop["mchid"]],
        ["ledger", "walk", told.payment],
        ["ledger", "balances", person],
        ["deliveries", "show", delivery],
    ]
    folded = [["people", "list"], ["merchants", "list"], ["deliveries", "list"], ["events", "tail"], ["world", "show"]]
    for words in whole + folded:
        ran = dewpond(*words)
        assert (ran.code, ran.err) == (0, ""), words
        assert ran.out.replace("\n", "").replace("\u200d", "").isprintable(), words
        assert words in folded or plain(text) in ran.out, words
        if words[0] != "pay" and words[1] not in ("tail", "top-up"):
            assert json.loads(dewpond(*words, "--json").out)


@pytest.mark.parametrize("name", ["[/red]x", "[conceal]a", "👨\u200d👩\u200d👧", "back\\"])
def test_a_name_like_markup_is_a_name(name: str, dewpond: Type) -> None:
    made = dewpond("people", "create", name, "--balance", "7")
    assert (made.code, made.err) == (0, "")
    assert f"{name} per_" in made.out
    assert dewpond("people", "show", name, "--json").json["name"] == name


def test_refusals_are_one_harmless_line(dewpond: Type) -> None:
    for words in (["people", "show", "\x1b[2J"], ["people", "create", "a\nb\x1b"], ["merchants", "show", "[/b]" * 500]):
        ran = dewpond(*words)
        assert ran.code == 1
        assert ran.err.strip().isprintable()
        assert len(ran.err) < 300


def test_a_program_is_told_of_failures_in_json(dewpond: Type) -> None:
    dewpond("people", "create", "Somebody", "--json")
    for code, words in (
        ("person_not_found", ["people", "show", "Nobody"]),
        ("name_invalid", ["people", "create", " "]),
        ("amount_invalid", ["people", "top-up", "Somebody", "much"]),
        ("not_confirmed", ["world", "reset"]),
    ):
        ran = dewpond(*words, "--json")
        assert (ran.code, ran.out) == (1, ""), words
        error = json.loads(ran.err)["error"]
        assert (error["code"], error["message"] != "") == (code, True)
    wrong = dewpond("people", "create", "--loud", "--json")
    assert (wrong.code, json.loads(wrong.err)["error"]["code"]) == (2, "wrong_call")


class _Full(io.StringIO):
    """A stdout behind which nothing can be written."""

    def __init__(self, error: type[OSError]) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error(28, "No space left on device")


@pytest.mark.parametrize(("error", "code"), [(OSError, 74), (BrokenPipeError, 0)])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_is_done_is_not_called_a_failure_where_nobody_can_be_told(
    error: type[OSError], code: int, more: list[str], dewpond: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dewpond.cli import commands

    name = f"Untold{code}{len(more)}"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["dewpond", "people", "create", name, "--balance", "7", *more])
        patch.setattr(sys, "stdout", _Full(error))
        with pytest.raises(SystemExit) as ended:
            commands.main()
    assert ended.value.code == code
    assert dewpond("people", "show", name, "--json").json["wallets"][0]["available"] == 700


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1bb", "a\\x1bb"),
        ("a\nb", "a\\nb"),
        ("\u202ea", "\\u202ea"),
        ("\udcff", "\\udcff"),
        ("茶", "茶"),
    ],
)
def test_what_does_not_show_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_what_is_long_is_quoted_by_its_beginning() -> None:
    assert short("a" * 64) == "a" * 64
    assert short("a" * 65) == "a" * 63 + "…"
