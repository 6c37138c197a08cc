"""The modules of our pages in a real browser, under the headers of real pages; scan and live have their own files."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import webauthn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from playwright.async_api import expect
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from browser import Chromium, axe
from web.small_server import MARK, STATIC, Answer, Asked, SmallServer, small_server, until

SEE_OTHER = Answer(status=303, headers={"location": "/done"})
DARK = "() => document.documentElement.dataset.theme"


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with small_server() as server:
        server.page("/done", "")
        yield server


# --- passkeys.js ------------------------------------------------------------------------------------------------------

SENTENCES = " ".join(
    f'data-said-{name}="{name}"' for name in ("cancelled", "unsupported", "insecure", "known", "offline", "failed")
)
PASSKEYS = f"""
<form method="post" action="/keys" data-passkey="create" data-options-url="/keys/options" {SENTENCES}>
  <label>Name <input name="name" value="Alice" required></label>
  <button name="way" value="new">Create</button><p data-problem role="alert" hidden></p>
</form>
<form method="post" action="/in" data-passkey="get" data-options-url="/in/options" {SENTENCES}>
  <button>Sign in</button><p data-problem role="alert" hidden></p>
</form>
"""
#: A browser of some years ago: it knows passkeys, and nothing of their JSON.
WITHOUT_JSON = """
delete PublicKeyCredential.parseCreationOptionsFromJSON;
delete PublicKeyCredential.parseRequestOptionsFromJSON;
delete PublicKeyCredential.prototype.toJSON;
"""


class Holder:
    """The server's side of passkeys, by the library the house uses."""

    def __init__(self, server: SmallServer, *, options_as_text: bool = False) -> None:
        self.server = server
        self.options_as_text = options_as_text
        self.challenge = b""
        self.registered: Any = None
        server.page("/", PASSKEYS, "passkeys.js")
        server.answers |= {
            ("POST", "/keys/options"): lambda _: self.begin(self.registration()),
            ("POST", "/in/options"): lambda _: self.begin(self.sign_in()),
            ("POST", "/keys"): lambda _: SEE_OTHER,
            ("POST", "/in"): lambda _: SEE_OTHER,
        }

    def registration(self) -> Any:
        known = self.registered and [PublicKeyCredentialDescriptor(id=self.registered.credential_id)]
        return webauthn.generate_registration_options(
            rp_id="localhost",
            rp_name="Dewpond",
            user_name="Alice",
            user_id=b"holder-of-alice",
            exclude_credentials=known or [],
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
            ),
        )

    def sign_in(self) -> Any:
        return webauthn.generate_authentication_options(
            rp_id="localhost", user_verification=UserVerificationRequirement.REQUIRED
        )

    def begin(self, options: Any) -> Answer:
        self.challenge = options.challenge
        text = webauthn.options_to_json(options)
        told = {"challenge_id": str(uuid4()), "options": text if self.options_as_text else json.loads(text)}
        return Answer(json.dumps(told), kind="application/json")

    def check(self, path: str) -> Any:
        """What the last form to a path proves."""
        form = self.server.posts(path)[-1].form
        expected = {
            "expected_challenge": self.challenge,
            "expected_rp_id": "localhost",
            "expected_origin": self.server.url,
            "require_user_verification": True,
        }
        if path == "/keys":
            self.registered = webauthn.verify_registration_response(credential=form["response"], **expected)
            return self.registered
        return webauthn.verify_authentication_response(
            credential=form["response"],
            credential_public_key=self.registered.credential_public_key,
            credential_current_sign_count=0,
            **expected,
        )


@pytest.mark.parametrize(
    ("_case", "script", "options_as_text"),
    [("a browser of today", "", False), ("options as text", "", True), ("an older browser", WITHOUT_JSON, False)],
)
async def test_a_passkey_is_made_and_signs_in(
    chromium: Chromium, server: SmallServer, _case: str, script: str, options_as_text: bool
) -> None:
    holder = Holder(server, options_as_text=options_as_text)
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_init_script(script)
        authenticator = await phone.hold_passkeys()
        await phone.page.goto("/")
        assert await axe(phone.page) == []
        assert await phone.page.evaluate("() => document.documentElement.dataset.passkeys") == "yes"
        await phone.page.get_by_role("button", name="Create").click()
        await phone.page.wait_for_url("**/done")
        made = holder.check("/keys")
        (form,) = [asked.form for asked in server.posts("/keys")]
        assert (form["name"], form["way"]) == ("Alice", "new")
        assert server.posts("/keys/options")[0].form == {"name": "Alice"}
        (kept,) = await authenticator.credentials()
        assert kept["rpId"] == "localhost"

        await phone.page.goto("/")
        await phone.page.get_by_role("button", name="Sign in").click()
        await phone.page.wait_for_url("**/done")
        proof = holder.check("/in")
        assert proof.credential_id == made.credential_id
        said = json.loads(server.posts("/in")[0].form["response"])
        assert said["response"]["userHandle"] == bytes_to_base64url(b"holder-of-alice")


async def test_what_stops_a_passkey_is_said_in_the_pages_words(chromium: Chromium, server: SmallServer) -> None:
    holder = Holder(server)
    async with chromium.new_phone(server.url) as phone:
        phone.allow("status of 409")
        authenticator = await phone.hold_passkeys()
        await phone.page.goto("/")
        create, sign_in = (phone.page.get_by_role("button", name=name) for name in ("Create", "Sign in"))
        problem = phone.page.get_by_role("alert")

        await authenticator.approve(False)
        await create.click()
        await expect(problem).to_have_text("cancelled")
        await authenticator.approve(True)
        await create.click()
        await phone.page.wait_for_url("**/done")
        holder.check("/keys")

        await phone.page.goto("/")
        await create.click()
        await expect(problem).to_have_text("known")
        server.answers[("POST", "/in/options")] = lambda _: Answer(
            '{"status": 409, "title": "Too many tries."}', status=409, kind="application/problem+json"
        )
        await sign_in.click()
        await expect(problem.nth(1)).to_have_text("Too many tries.")
        server.answers[("POST", "/in/options")] = lambda _: Answer("no JSON", kind="application/json")
        await sign_in.click()
        await expect(problem.nth(1)).to_have_text("failed")
        phone.allow("ERR_")
        server.stop()
        await sign_in.click()
        await expect(problem.nth(1)).to_have_text("offline")
    assert server.posts("/in") == []


async def test_a_browser_without_passkeys_says_so(chromium: Chromium, server: SmallServer) -> None:
    Holder(server)
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_init_script("delete globalThis.PublicKeyCredential")
        await phone.page.goto("/")
        assert await phone.page.evaluate("() => document.documentElement.dataset.passkeys") == "no"
        await phone.page.get_by_role("button", name="Sign in").click()
        await expect(phone.page.get_by_role("alert")).to_have_text("unsupported")
    assert server.posts("/in") == server.posts("/in/options") == []


async def test_a_session_that_ended_leads_to_the_sign_in(chromium: Chromium, server: SmallServer) -> None:
    Holder(server)
    server.answers[("POST", "/in/options")] = lambda _: Answer(status=401, kind="text/plain")
    async with chromium.new_phone(server.url) as phone:
        phone.allow("status of 401")
        await phone.hold_passkeys()
        await phone.page.goto("/")
        server.answers[("GET", "/")] = lambda _: SEE_OTHER  # as the site answers strangers
        await phone.page.get_by_role("button", name="Sign in").click()
        await phone.page.wait_for_url("**/done")


# --- pin.js -----------------------------------------------------------------------------------------------------------

FIELD = """<span data-pin-field><input data-pin name="{0}" aria-label="{0}" type="text" inputmode="numeric"
 autocomplete="off" maxlength="6" pattern="[0-9]{{6}}" required></span>"""


def pin_page(server: SmallServer, *names: str, form: str = "") -> None:
    fields = "".join(FIELD.format(name) for name in names)
    server.page(
        "/", f'<form method="post" action="/pay" {form}>{fields}<button>Go</button></form>', "pin.js", "once.js"
    )
    server.answers[("POST", "/pay")] = lambda _: time.sleep(0.3) or SEE_OTHER


async def test_the_sixth_digit_pays_once(chromium: Chromium, server: SmallServer) -> None:
    pin_page(server, "pin")
    async with chromium.new_phone(server.url) as phone:
        # Taps again and again while the answer is on its way: each would cost another of five tries.
        await phone.context.add_init_script("""
            addEventListener("submit", ({target}) => setInterval(() => target.requestSubmit(), 20), {once: true});
        """)
        await phone.page.goto("/")
        assert await axe(phone.page) == []
        await phone.page.focus("input")
        await phone.page.keyboard.type("12x45")
        assert await phone.page.locator("[data-pin-field]").get_attribute("data-filled") == "4"
        await phone.page.keyboard.type("67")
        await phone.page.wait_for_url("**/done")
        assert [asked.form for asked in server.posts("/pay")] == [{"pin": "124567"}]
        await phone.page.go_back()
        assert await phone.page.input_value("input") == ""


async def test_a_pin_whose_answer_was_stopped_can_be_typed_again(chromium: Chromium, server: SmallServer) -> None:
    pin_page(server, "pin")
    server.answers[("POST", "/pay")] = lambda _: time.sleep(1) or SEE_OTHER
    async with chromium.new_phone(server.url) as phone:
        # As by the browser's own button.
        await phone.context.add_init_script("""
            addEventListener("submit", ({target}) => setTimeout(() => {
              globalThis.wasBusy = target.getAttribute("aria-busy");
              stop();
            }, 300), {once: true});
        """)
        await phone.page.goto("/")
        await phone.page.locator("input").press_sequentially("123456")
        await phone.page.wait_for_function("() => globalThis.wasBusy")
        await expect(phone.page.locator("form")).not_to_have_attribute("aria-busy", "true")
        assert await phone.page.input_value("input") == ""
        await phone.page.locator("input").press_sequentially("654321")
        await phone.page.wait_for_url("**/done")
        assert [asked.form for asked in server.posts("/pay")] == [{"pin": "123456"}, {"pin": "654321"}]


@pytest.mark.parametrize("pasted", ["123 456", "123-456\n", "１２３４５６", "Your PIN is 123456."])
async def test_a_pin_is_pasted_as_people_have_it(chromium: Chromium, server: SmallServer, pasted: str) -> None:
    pin_page(server, "pin")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/")
        await phone.page.evaluate(
            """(text) => {
              const clipboardData = new DataTransfer();
              clipboardData.setData("text", text);
              const field = document.querySelector("input");
              field.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
            }""",
            pasted,
        )
        await phone.page.wait_for_url("**/done")
        assert [asked.form for asked in server.posts("/pay")] == [{"pin": "123456"}]


async def test_two_pins_follow_each_other(chromium: Chromium, server: SmallServer) -> None:
    pin_page(server, "pin", "again", form="data-pin-wait")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/")
        await phone.page.focus("input")
        await phone.page.keyboard.type("123456123456")
        assert server.posts("/pay") == []
        await phone.page.get_by_role("button", name="Go").click()
        await phone.page.wait_for_url("**/done")
        assert [asked.form for asked in server.posts("/pay")] == [{"pin": "123456", "again": "123456"}]


# --- once.js ----------------------------------------------------------------------------------------------------------


async def test_a_form_is_sent_once_until_its_answer_is_there(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", '<form method="post" action="/pay"><button>Go</button></form>', "once.js")
    server.answers[("POST", "/pay")] = lambda _: time.sleep(0.5) or SEE_OTHER
    sent: list[str] = []
    async with chromium.new_desk(server.url) as desk:
        await desk.context.add_init_script("""
            addEventListener("submit", ({target}) => setInterval(() => {
              const parts = [target, target.querySelector("button")];
              sessionStorage.busy = parts.map((part) => part.getAttribute("aria-busy"));
              target.requestSubmit();
            }, 20), {once: true});
        """)
        desk.page.on("request", lambda asked: sent.append(asked.method))
        await desk.page.goto("/")
        await desk.page.get_by_role("button", name="Go").dblclick()
        await desk.page.wait_for_url("**/done")
        assert await desk.page.evaluate("() => sessionStorage.busy") == "true,true"
    assert sent.count("POST") == len(server.posts("/pay")) == 1


async def test_what_only_asks_may_be_asked_again(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", '<form action="/done"><button>Look</button></form>', "once.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/")
        await desk.page.evaluate("() => addEventListener('submit', (event) => event.preventDefault())")
        await desk.page.get_by_role("button").dblclick()
        assert await desk.page.locator("[aria-busy], [data-sent]").count() == 0


# --- keypad.js --------------------------------------------------------------------------------------------------------

KEYS = "".join(f'<button type="button" data-key="{key}">{key}</button>' for key in (*"1234567890.", "back"))
AMOUNT = 'inputmode="decimal" pattern="[0-9]{1,7}([.][0-9]{1,2})?" maxlength="10"'
PIN_RULES = 'inputmode="numeric" pattern="[0-9]{6}" minlength="6" maxlength="6"'


@pytest.mark.parametrize(
    ("_case", "rules", "keys", "value"),
    [
        ("an amount", AMOUNT, "18.50", "18.50"),
        ("no third decimal", AMOUNT, "18.505", "18.50"),
        ("one point", AMOUNT, "1..5.", "1.5"),
        ("no point to begin with", AMOUNT, ".5", "5"),
        ("not too much", AMOUNT, "123456789", "1234567"),
        ("a slip taken back", AMOUNT, "19<8.0<5", "18.5"),
        ("nothing to take back", AMOUNT, "<<7", "7"),
        ("a PIN and no more", PIN_RULES, "2468135", "246813"),
        ("no point in a PIN", PIN_RULES, "12345.6", "123456"),
    ],
)
async def test_keys_on_the_page_type_what_may_become_right(
    chromium: Chromium, server: SmallServer, _case: str, rules: str, keys: str, value: str
) -> None:
    page = f'<label>It <input id="it" {rules}></label><div data-keypad="it" hidden>{KEYS}</div>'
    server.page("/", page, "keypad.js")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/")
        field = phone.page.get_by_label("It")
        await expect(field).to_have_attribute("inputmode", "none")  # the device's own keyboard stays away
        await phone.page.evaluate(
            "() => { globalThis.heard = 0; document.querySelector('input').addEventListener('input', () => heard++) }"
        )
        values = {await field.input_value()}
        for key in keys:
            name = "back" if key == "<" else key
            await phone.page.get_by_role("button", name=name, exact=True).click()
            values.add(await field.input_value())
        assert await field.input_value() == value
        assert await phone.page.evaluate("() => heard") >= len(values) - 1
        await field.press("End")
        await field.press("Backspace")  # it is typed into as before
        assert await field.input_value() == value[:-1]


# --- print.js ---------------------------------------------------------------------------------------------------------


async def test_a_button_prints_the_page(chromium: Chromium, server: SmallServer) -> None:
    buttons = '<button type="button" data-print><b>Print</b></button><button type="button">Other</button>'
    server.page("/", buttons, "print.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.context.add_init_script("globalThis.printed = 0; globalThis.print = () => { printed++ }")
        await desk.page.goto("/")
        await desk.page.get_by_role("button", name="Other").click()
        assert await desk.page.evaluate("() => printed") == 0
        await desk.page.get_by_text("Print").click()
        assert await desk.page.evaluate("() => printed") == 1
        await desk.page.get_by_role("button", name="Print").press("Enter")
        assert await desk.page.evaluate("() => printed") == 2


# --- keys.js ----------------------------------------------------------------------------------------------------------

KEY = """
<form method="post" action="/certificates" data-key data-common-name="1900000109" data-said-unsupported="No https."
      data-said-failed="Failed." data-said-making="Making." data-said-made="Made." data-said-saved="Saved.">
  <button type="button" data-key-make>Make</button> <a data-key-download hidden>Take the key</a>
  <button data-key-send aria-disabled="true">Send</button>
  <p data-key-said role="status"></p> <p data-problem role="alert" hidden></p>
</form>
"""


async def test_a_key_is_made_here_and_only_its_request_leaves(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", KEY, "keys.js")
    server.answers[("POST", "/certificates")] = lambda _: SEE_OTHER
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/")
        await expect(desk.page.get_by_role("button", name="Send")).to_be_disabled()
        said = desk.page.get_by_role("status")
        await desk.page.get_by_role("button", name="Make").press("Enter")
        link = desk.page.get_by_role("link", name="Take the key")
        await expect(link).to_be_focused()
        await expect(said).to_have_text("Made.")
        await desk.page.get_by_role("button", name="Send").click(force=True)  # it is too early, and nothing is sent
        await expect(desk.page.get_by_role("button", name="Send")).to_be_disabled()
        assert await axe(desk.page) == []
        async with desk.page.expect_download() as taking:
            await link.press("Enter")
        await expect(said).to_have_text("Saved.")
        taken = await taking.value
        assert taken.suggested_filename == "apiclient_key.pem"
        pem = (await taken.path()).read_bytes()
        await desk.page.get_by_role("button", name="Send").click()
        await desk.page.wait_for_url("**/done")
    (sent,) = server.posts("/certificates")
    assert set(sent.form) == {"csr"}
    assert not any("PRIVATE" in asked.body for asked in server.asked)

    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)
    request = x509.load_pem_x509_csr(sent.form["csr"].encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=1900000109"
    assert request.signature_hash_algorithm is not None
    assert request.signature_hash_algorithm.name == "sha256"
    plain = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert request.public_key().public_bytes(*plain) == key.public_key().public_bytes(*plain)


async def test_without_a_secure_page_no_key_is_made(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", KEY, "keys.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.context.add_init_script("delete Crypto.prototype.subtle")
        await desk.page.goto("/")
        await desk.page.get_by_role("button", name="Make").click()
        await expect(desk.page.get_by_role("alert")).to_have_text("No https.")
        await expect(desk.page.get_by_role("button", name="Send")).to_be_disabled()


# --- theme.js, copy.js ------------------------------------------------------------------------------------------------

CHOICES = """
<form method="post" action="/settings" data-choice="theme"><input type="hidden" name="next" value="/">
  <label>Light <select name="theme"><option>auto<option>light<option>dark</select></label></form>
"""
COLOURS = "".join(
    f'<meta name="theme-color" data-theme="{name}" media="(prefers-color-scheme: {name})" content="{colour}">'
    for name, colour in (("light", "#fff"), ("dark", "#000"))
)


async def test_a_choice_is_shown_at_once_and_kept_by_the_server(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", CHOICES, "theme.js", head=COLOURS)
    server.answers[("POST", "/settings")] = lambda asked: Answer(
        status=303, headers={"location": asked.form["next"], "set-cookie": f"theme={asked.form.get('theme')}; Path=/"}
    )
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/")
        await phone.page.get_by_label("Light").select_option("dark")
        assert await phone.page.evaluate(DARK) == "dark"
        media = "() => [...document.querySelectorAll('meta[name=theme-color]')].map((colour) => colour.media)"
        assert await phone.page.evaluate(media) == ["not all", "all"]
        await until("the choice", lambda: server.posts("/settings"))
        assert server.posts("/settings")[0].form == {"next": "/", "theme": "dark"}
        await phone.page.get_by_label("Light").select_option("auto")
        assert await phone.page.evaluate(DARK) is None
        assert (await phone.page.evaluate(media))[1] == "(prefers-color-scheme: dark)"
        await phone.page.get_by_label("Light").select_option("dark")
        await phone.page.wait_for_function("() => document.cookie === 'theme=dark'")
        assert [asked.form.get("theme") for asked in server.posts("/settings")] == ["dark", "auto", "dark"]


@pytest.mark.parametrize("script", ["", "delete Navigator.prototype.clipboard"])
async def test_a_text_is_copied_and_the_button_says_so(chromium: Chromium, server: SmallServer, script: str) -> None:
    buttons = """
    <button type="button" data-copy="wxd930ea5d5a258f4f" data-said-copied="Copied"><b data-copy-label>Copy</b></button>
    <button type="button" data-copy-from="#text" data-said-copied="Copied">Copy text</button><pre id="text"> a
b </pre><label>Paste <textarea></textarea></label>"""
    server.page("/", buttons, "copy.js")
    async with chromium.new_desk(server.url, permissions=["clipboard-read", "clipboard-write"]) as desk:
        await desk.context.add_init_script(script)
        await desk.page.goto("/")
        for button, text in (("[data-copy]", "wxd930ea5d5a258f4f"), ("[data-copy-from]", "a\nb")):
            await desk.page.click(button)
            await expect(desk.page.locator(button)).to_have_text("Copied")
            await desk.page.get_by_label("Paste").fill("")
            await desk.page.get_by_label("Paste").press("Control+v")
            assert await desk.page.get_by_label("Paste").input_value() == text
        await expect(desk.page.locator("[data-copy] > [data-copy-label]")).to_have_text("Copy")
        await expect(desk.page.locator("[data-copied]")).to_have_count(0)


async def test_where_nobody_may_copy_it_is_said_and_the_text_is_selected(
    chromium: Chromium, server: SmallServer
) -> None:
    told = 'data-said-copied="Copied" data-said-failed="By hand."'
    button = f'<button type="button" data-copy="7WQK-93M2" {told}>Copy</button>'
    value = f'<div class="copyable"><code>7WQK-93M2</code>{button}</div>'
    server.page("/", value, "copy.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.context.add_init_script(
            "delete Navigator.prototype.clipboard; Document.prototype.execCommand = () => globalThis.copies ?? false;"
        )
        await desk.page.goto("/")
        button = desk.page.get_by_role("button")
        for _ in range(2):  # said once, however often it is tried
            await button.press("Enter")
            await expect(desk.page.get_by_role("alert")).to_have_text("By hand.")
        await expect(button).to_have_text("Copy")
        await expect(button).to_be_focused()
        assert await desk.page.evaluate("() => getSelection().toString()") == "7WQK-93M2"
        assert await axe(desk.page) == []
        await desk.page.evaluate("() => { globalThis.copies = true }")
        await button.press("Enter")
        await expect(button).to_have_text("Copied")
        await expect(desk.page.get_by_role("alert")).to_have_count(0)


# --- sw.js, pwa.js ----------------------------------------------------------------------------------------------------

SHELL = f"""<link rel="stylesheet" href="/static/{MARK}/tokens.css"><link rel="icon" href="data:,">"""
KEPT = """async () => {
  const kept = {};
  for (const name of await caches.keys())
    kept[name] = (await (await caches.open(name)).keys()).map((one) => new URL(one.url).pathname);
  return kept;
}"""


async def test_only_the_shell_is_kept_and_without_network_it_is_shown(chromium: Chromium, server: SmallServer) -> None:
    worker = f"/sw.js?v={MARK}&amp;lang=en"
    home = '<p>Balance ¥88.00</p><p data-offline role="status" hidden>No network</p>'
    server.page("/", home, "pwa.js", html=f'data-worker="{worker}"', head=SHELL)
    server.page("/offline", "There is no network.", head=SHELL)
    server.answers[("GET", f"/static/{MARK}/figures.js")] = lambda _: Answer("export {}", kind="text/javascript")
    server.answers[("GET", "/static/older/figures.js")] = lambda _: Answer("export {}", kind="text/javascript")
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_cookies([{"name": "dewpond-person", "value": "secret", "url": server.url}])
        await phone.page.goto("/")
        await phone.page.evaluate("() => caches.open('shell-older-en').then(() => navigator.serviceWorker.ready)")
        await phone.page.wait_for_function("() => navigator.serviceWorker.controller")
        offline = next(asked for asked in server.asked if asked.path == "/offline")
        assert "cookie" not in offline.headers
        assert offline.headers["accept-language"] == "en"

        await phone.page.reload()
        await phone.page.evaluate(
            """(mark) => Promise.all([
              import(`/static/${mark}/figures.js`), import("/static/older/figures.js"),
              fetch("/done", {method: "POST"}), fetch("/done"), fetch("/done", {headers: {accept: "application/json"}}),
            ])""",
            MARK,
        )
        kept = await phone.page.evaluate(KEPT)
        assert list(kept) == [f"shell-{MARK}-en"]
        own = {f"/static/{MARK}/{name}" for name in ("tokens.css", "pwa.js", "figures.js")}
        assert set(kept[f"shell-{MARK}-en"]) == {"/offline", *own}

        phone.allow("ERR_CONNECTION_REFUSED")
        server.stop()
        await phone.page.goto("/")
        await expect(phone.page.get_by_text("There is no network.")).to_be_visible()
        await expect(phone.page.get_by_text("88.00")).to_have_count(0)


async def test_a_page_says_that_there_is_no_network_and_offers_to_be_installed(
    chromium: Chromium, server: SmallServer
) -> None:
    home = (
        '<p data-offline role="status" hidden>No network</p><button type="button" data-install hidden>Install</button>'
    )
    server.page("/", home, "pwa.js")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/")
        await expect(phone.page.get_by_text("No network")).to_be_hidden()
        await phone.context.set_offline(True)
        await expect(phone.page.get_by_text("No network")).to_be_visible()
        await phone.context.set_offline(False)
        await expect(phone.page.get_by_text("No network")).to_be_hidden()
        install = phone.page.get_by_role("button", name="Install")
        await expect(install).to_be_hidden()
        # Browsers decide themselves when they would install a page; here they would at once.
        await phone.page.evaluate("""() => {
          const event = new Event("beforeinstallprompt", {cancelable: true});
          event.prompt = () => { globalThis.prompted = true; };
          dispatchEvent(event);
        }""")
        await install.click()
        await expect(install).to_be_hidden()
        assert await phone.page.evaluate("() => prompted")


# --- what others wrote, and the harness itself ------------------------------------------------------------------------


async def test_htmx_lives_under_our_policy_and_keeps_no_pages(chromium: Chromium, server: SmallServer) -> None:
    layout = (STATIC.parent / "templates" / "layout" / "base.html").read_text(encoding="utf-8")
    (told,) = re.findall(r'<meta name="htmx-config"[^>]*>', layout)
    links = '<a href="/more" hx-get="/more" hx-target="#place" hx-push-url="true">More</a><p id="place">88.00</p>'
    server.page("/", links, head=f'{told}<script defer src="/static/{MARK}/vendor/htmx.js"></script>')
    server.answers[("GET", "/more")] = lambda _: Answer("<b>18.00</b>")
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/")
        await desk.page.get_by_role("link", name="More").click()
        await expect(desk.page.locator("#place b")).to_have_text("18.00")
        kept = await desk.page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "18.00" not in kept
        assert "88.00" not in kept
        await desk.page.go_back()
        await expect(desk.page.get_by_text("88.00")).to_be_visible()


async def test_the_harness_finds_what_it_is_to_find(chromium: Chromium, server: SmallServer) -> None:
    server.page("/", '<img src="http://192.0.2.1/x.png"><p style="color: red">Inline</p>')
    server.answers[("GET", "/loose")] = lambda _: Answer(
        '<!doctype html><title>x</title><img src="http://192.0.2.1/x.png"><script>setTimeout(() => gone())</script>',
        headers={"content-security-policy": "default-src * 'unsafe-inline'"},
    )

    async def visit(path: str, allowed: str) -> None:
        async with chromium.new_desk(server.url) as desk:
            desk.allow(allowed)
            await desk.page.goto(path)
            await until("trouble", lambda: desk.foreign and len(desk.errors) > 1)

    with pytest.raises(AssertionError, match="console"):
        await visit("/", "nothing")
    with pytest.raises(AssertionError, match="console"):
        await visit("/loose", "ERR_")
    with pytest.raises(AssertionError, match="another machine"):
        await visit("/loose", "ERR_|gone")
    server.page("/unclear", "<img src='data:,'>")
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/unclear")
        assert any(line.startswith("image-alt: ") for line in await axe(desk.page))


def test_requests_are_read(server: SmallServer) -> None:
    """What other tests rely on when they look at what was sent."""
    assert Asked("POST", "/", {}, {}, "a=1&b=&a=2").form == {"a": "2", "b": ""}
