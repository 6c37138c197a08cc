// Scan: reads a code with the camera or out of a picture, and opens it if it leads to a page of this site.
//
//   <section data-scan data-origin="https://…" data-said-denied data-said-missing data-said-busy
//            data-said-unsupported data-said-nothing data-said-foreign data-said-failed>
//     <video data-scan-video playsinline muted></video>
//     <button type="button" data-scan-start>…</button>            only needed after the camera was refused
//     <button type="button" data-scan-torch hidden aria-pressed="false">…</button>
//     <input type="file" accept="image/*" data-scan-picture>
//     <form data-scan-typed action="/scan"><input name="code"></form>
//     <p data-problem role="alert" hidden></p>  <p data-scan-foreign hidden></p>
//   </section>
//
// data-scan-state on it says starting, looking, found, stopped or blocked. What is written in a code and leads
// elsewhere is shown as text in [data-scan-foreign] and never opened. data-origin is the world's public address, for
// pages that were opened under another one.
import { Difficulty, sentence, tell } from "./said.js";

const PATH = /^\/[qms]\/[A-Za-z0-9_-]{1,128}$/;
const NATIVE_PAYMENT = /^weixin:\/\/wxpay\/bizpayurl(?:\/up)?\?pr=([A-Za-z0-9_-]{1,128})$/i;
const CODE = /^[A-Za-z0-9_-]{1,128}$/;
const PAUSE_MS = 120;
const LARGEST_PX = 1600;

/** The path of this site that a text leads to, or "" if it leads anywhere else. */
export function pathOf(text, origins = [location.origin]) {
  const code = NATIVE_PAYMENT.exec(text.trim())?.[1];
  if (code) return `/q/${code}`;
  const url = URL.parse?.(text.trim()) ?? parsed(text.trim());
  return url && origins.includes(url.origin) && PATH.test(url.pathname) ? url.pathname : "";
}

function parsed(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

// --- reading codes ---------------------------------------------------------------------------------------------------

let detector;

/** A detector of QR codes: the browser's own, else the ponyfill with its decoder beside it. Loaded once, when asked. */
function ready() {
  detector ??= load().catch((error) => {
    detector = undefined;
    throw error;
  });
  return detector;
}

async function load() {
  const formats = await globalThis.BarcodeDetector?.getSupportedFormats().catch(() => []);
  if (formats?.includes("qr_code")) return new globalThis.BarcodeDetector({ formats: ["qr_code"] });
  const { BarcodeDetector, prepareZXingModule } = await import("./vendor/barcode-detector/ponyfill.js");
  const decoder = new URL("./vendor/barcode-detector/zxing_reader.wasm", import.meta.url).href;
  await prepareZXingModule({ overrides: { locateFile: () => decoder }, fireImmediately: true });
  return new BarcodeDetector({ formats: ["qr_code"] });
}

async function read(picture) {
  const [first] = await (await ready()).detect(picture);
  return first?.rawValue ?? "";
}

/** The text of the code in a picture file. A smaller copy is tried first: camera rolls are large and slow. */
async function readFile(file) {
  const whole = await createImageBitmap(file).catch(() => {
    throw new Difficulty("nothing");
  });
  const shrink = LARGEST_PX / Math.max(whole.width, whole.height);
  if (shrink < 1) {
    const resizeWidth = Math.round(whole.width * shrink);
    const found = await read(await createImageBitmap(whole, { resizeWidth, resizeQuality: "high" }));
    if (found) return found;
  }
  return read(whole);
}

// --- the page --------------------------------------------------------------------------------------------------------

class Scanner {
  constructor(root) {
    this.root = root;
    this.video = root.querySelector("[data-scan-video]");
    this.torch = root.querySelector("[data-scan-torch]");
    this.foreign = root.querySelector("[data-scan-foreign]");
    this.origins = [location.origin, root.dataset.origin].filter(Boolean);
    this.stream = null;
    this.turn = 0; // each start and stop begins another one; whatever still runs for an older one gives up
    this.on("[data-scan-start]", "click", () => this.start());
    this.on("[data-scan-torch]", "click", () => this.light(this.torch.getAttribute("aria-pressed") !== "true"));
    this.on("[data-scan-picture]", "change", (event) => this.look(event.target));
    this.on("[data-scan-typed]", "submit", (event) => this.type(event));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stop() : this.start()));
    addEventListener("pagehide", () => this.stop());
    addEventListener("pageshow", (event) => event.persisted && this.start());
    if (!document.hidden) this.start();
  }

  on(selector, event, then) {
    this.root.querySelector(selector)?.addEventListener(event, then);
  }

  set state(name) {
    this.root.dataset.scanState = name;
    const frame = this.root.querySelector("[data-scan-frame]");
    if (frame) frame.hidden = name === "blocked"; // nothing can be held inside of it
  }

  async start() {
    this.stop();
    const turn = this.turn;
    this.state = "starting";
    this.say("");
    ready().catch(() => {}); // fetches the decoder while the person is asked for the camera
    try {
      const stream = await this.open();
      if (turn !== this.turn) return end(stream);
      this.stream = stream;
      this.video.srcObject = stream;
      const [track] = stream.getVideoTracks();
      if (this.torch) this.torch.hidden = !track.getCapabilities?.().torch;
      await Promise.all([this.video.play(), ready()]);
      if (turn !== this.turn) return undefined;
      this.state = "looking";
      await this.watch(turn);
    } catch (error) {
      if (turn !== this.turn) return undefined; // stopped meanwhile: what failed was wanted to end
      this.stop();
      this.state = "blocked";
      this.say(named(error));
    }
    return undefined;
  }

  async open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Difficulty("unsupported");
    const video = { facingMode: { ideal: "environment" }, width: { ideal: 1280 }, height: { ideal: 720 } };
    return navigator.mediaDevices.getUserMedia({ video, audio: false });
  }

  async watch(turn) {
    while (turn === this.turn) {
      const text = this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA ? await read(this.video) : "";
      if (turn !== this.turn || (text && this.take(text))) return;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  stop() {
    this.turn += 1;
    if (!this.stream) return;
    end(this.stream);
    this.stream = null;
    this.video.srcObject = null;
    this.torch?.setAttribute("aria-pressed", "false");
    this.state = "stopped";
  }

  async light(on) {
    const [track] = this.stream?.getVideoTracks() ?? [];
    const obeyed = track?.applyConstraints({ advanced: [{ torch: on }] });
    await obeyed?.then(() => this.torch.setAttribute("aria-pressed", String(on))).catch(() => {});
  }

  async look(field) {
    const [file] = field.files;
    field.value = ""; // so that the same picture can be chosen again
    if (!file) return;
    this.say("");
    try {
      const text = await readFile(file);
      if (!text) throw new Difficulty("nothing");
      this.take(text);
    } catch (error) {
      this.say(named(error));
    }
  }

  /** A typed address is taken like a scanned one; a bare code is the server's to know, where the form says which. */
  type(event) {
    const text = String(new FormData(event.target).get("code") ?? "").trim();
    const isBare = CODE.test(text);
    if (isBare && event.target.hasAttribute("action")) return;
    event.preventDefault();
    if (isBare) this.take(new URL(`/q/${text}`, location.origin).href);
    else if (text) this.take(text);
  }

  /** Open what leads to a page of this site; show what does not. */
  take(text) {
    const path = pathOf(text, this.origins);
    if (path) {
      this.stop();
      this.say("");
      this.state = "found";
      location.assign(path);
    } else {
      this.say("foreign", text);
    }
    return Boolean(path);
  }

  say(name, foreign = "") {
    tell(this.root, name && sentence(this.root, name));
    if (!this.foreign || this.foreign.textContent === foreign.slice(0, 200)) return;
    this.foreign.textContent = foreign.slice(0, 200);
    this.foreign.hidden = !foreign;
  }
}

function end(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

function named(error) {
  const names = {
    Difficulty: error.said,
    NotAllowedError: "denied",
    SecurityError: "denied",
    NotFoundError: "missing",
    OverconstrainedError: "missing",
    NotReadableError: "busy", // another program holds the camera
    AbortError: "busy",
  };
  return names[error.name] ?? "failed";
}

document.querySelectorAll("[data-scan]").forEach((root) => new Scanner(root));
