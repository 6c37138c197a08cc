"""scan.js: what the camera, a picture or the keyboard brings, and where it may lead."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import segno
from playwright.async_api import expect

from browser import Chromium, Window, axe
from web.small_server import MARK, SCANNER_POLICY, SmallServer, small_server, until

SCANNER = """
<section data-scan data-origin="https://pay.example" data-said-denied="Allow the camera." data-said-nothing="No code."
         data-said-foreign="This code leads elsewhere." data-said-unsupported="No camera here."
         data-said-failed="Failed.">
  <video data-scan-video playsinline muted></video><div data-scan-frame>Frame</div>
  <button type="button" data-scan-start>Start</button>
  <button type="button" data-scan-torch hidden aria-pressed="false">Light</button>
  <label>Picture <input type="file" accept="image/*" data-scan-picture></label>
  <form data-scan-typed action="/scan"><label>Code <input name="code"></label><button>Open</button></form>
  <p data-problem role="alert" hidden></p><p data-scan-foreign hidden></p>
</section>
"""
NO_NATIVE_DETECTOR = "delete globalThis.BarcodeDetector"
STATE = "() => document.querySelector('[data-scan]').dataset.scanState"
#: Remembers every camera that a page opened.
WATCHED_CAMERA = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
globalThis.opened = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  globalThis.wanted = wanted;
  const stream = await open(wanted);
  globalThis.opened.push(stream);
  return stream;
};
"""
HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with small_server() as server:
        server.policy = SCANNER_POLICY
        server.page("/scan", SCANNER, "scan.js")
        for path in ("/q/first-code", "/q/other_code", "/m/poster"):
            server.page(path, "")
        yield server


async def state(window: Window, wanted: str) -> None:
    await window.page.wait_for_function(f"wanted => ({STATE})() === wanted", arg=wanted)


@pytest.mark.parametrize(
    ("_case", "text", "path"),
    [
        ("a payment's address", "{url}/q/first-code", "/q/first-code"),
        ("as WeChat Pay writes it", "weixin://wxpay/bizpayurl?pr=other_code", "/q/other_code"),
    ],
)
async def test_a_code_before_the_camera_opens_its_page(
    chromium: Chromium, server: SmallServer, _case: str, text: str, path: str
) -> None:
    chromium.show(text.format(url=server.url))
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/scan")
        await phone.page.wait_for_url(f"**{path}")


async def test_a_code_that_leads_elsewhere_is_shown_and_never_opened(chromium: Chromium, server: SmallServer) -> None:
    foreign = "https://evil.example/q/first-code?<img src=x onerror=alert(1)>"
    chromium.show(foreign)
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/scan")
        await expect(phone.page.locator("[data-scan-foreign]")).to_have_text(foreign)
        await expect(phone.page.get_by_role("alert")).to_have_text("This code leads elsewhere.")
        await state(phone, "looking")
        assert phone.page.url == f"{server.url}/scan"
        assert await phone.page.locator("[data-scan-foreign] *").count() == 0


async def test_where_a_text_leads(chromium: Chromium, server: SmallServer) -> None:
    paths = {
        "{url}/q/first-code": "/q/first-code",
        " {url}/m/poster\n": "/m/poster",
        "{url}/s/sign-in?next=//evil.example#x": "/s/sign-in",
        "https://pay.example/q/other_code": "/q/other_code",
        "HTTPS://PAY.EXAMPLE/q/other_code": "/q/other_code",
        "weixin://wxpay/bizpayurl?pr=other_code": "/q/other_code",
        "weixin://wxpay/bizpayurl/up?pr=other_code": "/q/other_code",
        "http://pay.example/q/other_code": "",
        "https://pay.example:444/q/other_code": "",
        "https://evil.example/q/first-code": "",
        "{url}.evil.example/q/first-code": "",
        "{url}@evil.example/q/first-code": "",
        "{url}/history": "",
        "{url}/": "",
        "{url}/q/": "",
        "{url}/q/first-code/confirmation": "",
        "{url}/q/..%2fhistory": "",
        "{url}/q/../history": "",
        "{url}//evil.example/q/x": "",
        "//evil.example/q/x": "",
        "/q/first-code": "",
        "first-code": "",
        "javascript:alert(1)": "",
        "data:text/html,<script>alert(1)</script>": "",
        "weixin://wxpay/bizpayurl?pr=../history": "",
        "weixin://wxpay/bizpayurl?pr=x&y=z": "",
        "weixin://dl/business/?t=x": "",
        "": "",
    }
    wanted = {text.format(url=server.url): path for text, path in paths.items()}
    server.page("/blank", "")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/blank")
        found = await phone.page.evaluate(
            """async ([module, texts]) => {
              const {pathOf} = await import(module);
              const origins = [location.origin, "https://pay.example"];
              return Object.fromEntries(texts.map((text) => [text, pathOf(text, origins)]));
            }""",
            [f"/static/{MARK}/scan.js", list(wanted)],
        )
    assert found == wanted


async def test_the_camera_at_the_back_is_asked_for_and_its_decoder_comes_from_here(
    chromium: Chromium, server: SmallServer
) -> None:
    chromium.show()
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_init_script(WATCHED_CAMERA)
        await phone.page.goto("/scan")
        await state(phone, "looking")
        wanted = await phone.page.evaluate("() => wanted")
        assert wanted["audio"] is False
        assert wanted["video"]["facingMode"] == {"ideal": "environment"}
        assert [one.path for one in server.asked if one.path.endswith(".wasm")] == [
            f"/static/{MARK}/vendor/barcode-detector/zxing_reader.wasm"
        ]
        assert await axe(phone.page) == []


async def test_a_code_is_read_from_a_picture(chromium: Chromium, server: SmallServer, tmp_path: Path) -> None:
    chromium.show()
    picture, wall = tmp_path / "code.png", tmp_path / "wall.png"
    segno.make(f"{server.url}/q/first-code", error="m").save(str(picture), scale=50)  # larger than is read at first
    segno.make("x", micro=False).save(str(wall), dark="white")
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/scan")
        await phone.page.set_input_files("[data-scan-picture]", wall)
        await expect(phone.page.get_by_role("alert")).to_have_text("No code.")
        await phone.page.set_input_files(
            "[data-scan-picture]", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"}
        )
        await expect(phone.page.get_by_role("alert")).to_have_text("No code.")
        await phone.page.set_input_files("[data-scan-picture]", picture)
        await phone.page.wait_for_url("**/q/first-code")


async def test_typed_addresses_are_taken_like_scanned_ones_and_bare_codes_are_the_servers(
    chromium: Chromium, server: SmallServer
) -> None:
    chromium.show()
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/scan")
        await phone.page.get_by_label("Code").fill("https://evil.example/q/first-code")
        await phone.page.get_by_role("button", name="Open").click()
        await expect(phone.page.get_by_role("alert")).to_have_text("This code leads elsewhere.")
        await phone.page.get_by_label("Code").fill(f" {server.url}/m/poster ")
        await phone.page.get_by_role("button", name="Open").click()
        await phone.page.wait_for_url("**/m/poster")
        await phone.page.goto("/scan")
        await phone.page.get_by_label("Code").fill("first-code")
        await phone.page.get_by_role("button", name="Open").click()
        await phone.page.wait_for_url("**/scan?code=first-code")


async def test_the_camera_rests_while_nobody_looks(chromium: Chromium, server: SmallServer) -> None:
    chromium.show()
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_init_script(WATCHED_CAMERA)
        await phone.page.goto("/scan")
        await state(phone, "looking")
        await phone.page.evaluate(HIDDEN, True)
        await state(phone, "stopped")
        live = "() => opened.map((stream) => stream.getTracks()[0].readyState)"
        assert await phone.page.evaluate(live) == ["ended"]
        await phone.page.evaluate(HIDDEN, False)
        await state(phone, "looking")
        assert await phone.page.evaluate(live) == ["ended", "live"]


async def test_the_light_is_offered_where_there_is_one(chromium: Chromium, server: SmallServer) -> None:
    chromium.show()
    async with chromium.new_phone(server.url) as phone:
        await phone.page.goto("/scan")
        await state(phone, "looking")
        await expect(phone.page.get_by_role("button", name="Light")).to_be_hidden()
        # The camera of the tests has no light: its track is given one that writes down what it is told.
        await phone.context.add_init_script("""
            globalThis.light = [];
            MediaStreamTrack.prototype.getCapabilities = () => ({torch: true});
            MediaStreamTrack.prototype.applyConstraints = async ({advanced: [{torch}]}) => light.push(torch);
        """)
        await phone.page.reload()
        button = phone.page.get_by_role("button", name="Light")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "true")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "false")
        assert await phone.page.evaluate("() => light") == [True, False]


@pytest.mark.parametrize(
    ("_case", "script", "sentence"),
    [
        (
            "said no",
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }",
            "Allow the camera.",
        ),
        ("no secure page", "delete Navigator.prototype.mediaDevices", "No camera here."),
    ],
)
async def test_without_a_camera_the_page_says_why_and_goes_on(
    chromium: Chromium, server: SmallServer, tmp_path: Path, _case: str, script: str, sentence: str
) -> None:
    picture = tmp_path / "code.png"
    segno.make(f"{server.url}/q/first-code").save(str(picture), scale=8)
    async with chromium.new_phone(server.url) as phone:
        await phone.context.add_init_script(script)
        await phone.page.goto("/scan")
        await expect(phone.page.get_by_role("alert")).to_have_text(sentence)
        await state(phone, "blocked")
        assert not await phone.page.locator("[data-scan-frame]").is_visible(), "nothing can be held inside of it"
        await phone.page.set_input_files("[data-scan-picture]", picture)
        await phone.page.wait_for_url("**/q/first-code")


async def test_a_browser_that_reads_codes_itself_fetches_no_decoder(chromium: Chromium, server: SmallServer) -> None:
    chromium.show()
    async with chromium.new_phone(server.url) as phone:
        # Chromium on Linux cannot; on phones it can.
        await phone.context.add_init_script("""
            globalThis.BarcodeDetector = class {
              static async getSupportedFormats() { return ["qr_code"]; }
              async detect() { return [{rawValue: location.origin + "/q/first-code"}]; }
            };
        """)
        await phone.page.goto("/scan")
        await phone.page.wait_for_url("**/q/first-code")
    await until("the page", lambda: any(one.path == "/q/first-code" for one in server.asked))
    assert not [one.path for one in server.asked if "vendor" in one.path]
