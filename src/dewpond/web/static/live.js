// Live: keeps a page at the present by server-sent events, and says so when it cannot.
//
//   <main data-live="/m/1900000109/live?after=4711">
//     <p data-live-state role="status" data-said-live data-said-reconnecting data-said-ended
//        data-said-stale="… {since} …"></p>
//     <ol id="payments" data-live-most="50">…</ol>
//
// The stream's events have a position as id and JSON as data:
//   {"html": {"#payments": {"how": "prepend", "html": "…"}}, "drop" or "drops": …, "reload": true}
// `how` is prepend or append (children; data-live-most rows are kept) or replace (the element itself). A piece whose id
// is on the page already takes that one's place: nothing is shown twice.
// Told to others on `document`: dewpond:live (each message), dewpond:drop (those with drops), dewpond:live-state.
// <html data-live-now="connecting|live|reconnecting|stale|ended"> lets the style sheet mark what may be old.
//
// Not EventSource: that hides the server's heartbeat (so a dead line looks alive), gives up for good at the first 502
// of a restart, and a new one in its place cannot be told by header where to begin.
const SILENCE_MS = 40_000; // the server says something every 15 s
const STALE_MS = 10_000;
const GOOD_MS = 5_000; // a line that held this long begins with short pauses again
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const RELOAD_SPREAD_MS = 2_000;
// Browsers keep six connections to a server, for all of its tabs: a page that nobody sees gives its own back.
const HIDDEN_MS = 3_000;

/** Read an event stream: calls `told({id, data})` for each event, `heard()` for whatever arrives. */
export async function events(body, { told, heard = () => {} }) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let id;
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) told({ id, data: data.join("\n") });
        data = [];
        continue;
      }
      const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "data") data.push(text);
      else if (field === "id") id = text;
    }
  }
}

class Live {
  constructor(root) {
    this.root = root;
    this.position = ""; // the last one seen
    this.heardAt = Date.now();
    this.tries = 0;
    this.connection = null;
    this.timer = 0;
    addEventListener("online", () => this.wake(true));
    addEventListener("pageshow", (event) => event.persisted && this.connect());
    addEventListener("pagehide", () => this.leave());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.wake()));
    document.addEventListener("resume", () => this.wake());
    setInterval(() => this.watch(), STALE_MS / 4);
    this.show("connecting");
    if (!document.hidden) this.connect();
  }

  /** Nobody looks: let go in a moment, and begin again where it was as soon as somebody does. */
  rest() {
    this.resting = setTimeout(() => this.leave(), HIDDEN_MS);
  }

  leave() {
    clearTimeout(this.timer);
    this.connection?.abort();
    this.connection = null;
  }

  async connect() {
    this.leave();
    this.askedAt = Date.now();
    const connection = (this.connection = new AbortController());
    try {
      const headers = { accept: "text/event-stream", ...(this.position && { "last-event-id": this.position }) };
      const reply = await fetch(this.root.dataset.live, { headers, cache: "no-store", signal: connection.signal });
      if (isFinal(reply.status)) {
        this.show("ended");
        return;
      }
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      this.heard();
      await events(reply.body, { told: (event) => this.take(event), heard: () => this.heard() });
    } catch {
      // Whatever it was, the answer is the same: come back, at the position where we were.
    }
    if (connection === this.connection) this.retry();
  }

  retry() {
    this.show(this.isStale() ? "stale" : "reconnecting");
    if (Date.now() - this.askedAt > GOOD_MS) this.tries = 0;
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.tries);
    this.tries += 1;
    this.leave();
    this.timer = setTimeout(() => this.connect(), longest * (0.5 + Math.random() / 2));
  }

  /** Somebody looks again, or the network is back: a line that is down or was silent too long is tried at once. */
  wake(isDoubtful = false) {
    clearTimeout(this.resting);
    if (document.hidden) return;
    if (this.state === "ended" || (this.connection && !this.isSilent() && !isDoubtful)) return;
    this.tries = 0;
    if (!this.connection) this.show("connecting");
    this.connect();
  }

  heard() {
    this.heardAt = Date.now();
    this.show("live");
  }

  isSilent() {
    return Date.now() - Math.max(this.heardAt, this.askedAt) > SILENCE_MS;
  }

  isStale() {
    return Date.now() - this.heardAt > STALE_MS;
  }

  watch() {
    if (this.state === "ended" || document.hidden) return;
    if (this.connection && this.isSilent()) {
      this.show("stale");
      this.connect();
    } else if (this.state !== "live" && this.isStale()) {
      this.show("stale");
    }
  }

  take({ id, data }) {
    if (id) this.position = id; // before anything else: a message that cannot be shown is not asked for again
    const message = JSON.parse(data);
    for (const [selector, piece] of Object.entries(message.html ?? {})) put(selector, piece);
    announce("live", message);
    if (message.drop || message.drops) announce("drop", message);
    if (message.reload) setTimeout(() => location.reload(), Math.random() * RELOAD_SPREAD_MS);
  }

  show(state) {
    if (state === this.state) return;
    this.state = state;
    document.documentElement.dataset.liveNow = state;
    const since = new Date(this.heardAt);
    const { lang } = document.documentElement;
    const shown = since.toLocaleTimeString(lang || "en", { hour: "2-digit", minute: "2-digit" });
    for (const place of document.querySelectorAll("[data-live-state]")) {
      place.dataset.liveState = state;
      place.textContent = (place.getAttribute(`data-said-${state}`) ?? "").replace("{since}", shown);
    }
    announce("live-state", { state, since });
  }
}

/** Nobody there to tell (204), signed out, or not for this visitor: asking again would not help. */
function isFinal(status) {
  return status === 204 || (status >= 400 && status < 500 && status !== 408 && status !== 429);
}

function announce(name, detail) {
  document.dispatchEvent(new CustomEvent(`dewpond:${name}`, { detail }));
}

// --- putting pieces in place -----------------------------------------------------------------------------------------

function put(selector, { how, html }) {
  const target = document.querySelector(selector);
  if (!target) return;
  const template = document.createElement("template");
  template.innerHTML = html;
  const pieces = [...template.content.children];
  if (how === "replace") {
    if (pieces.length === 1 && pieces[0].isEqualNode(target)) return;
    swap(target, pieces);
  } else {
    const fresh = pieces.filter((piece) => !replaced(piece));
    if (how === "prepend") target.prepend(...fresh);
    else target.append(...fresh);
    trim(target, how);
  }
  for (const piece of pieces) if (piece.isConnected) globalThis.htmx?.process(piece);
}

function replaced(piece) {
  const old = piece.id && document.getElementById(piece.id);
  if (old && !old.isEqualNode(piece)) swap(old, [piece]);
  return Boolean(old);
}

/** Put pieces where an element was; whoever was at something inside of it by keyboard stays there. */
function swap(old, pieces) {
  const held = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(...pieces);
  if (held) document.getElementById(held)?.focus({ preventScroll: true });
}

function trim(target, how) {
  const most = Number(target.dataset.liveMost) || Infinity;
  const oldest = how === "prepend" ? "lastElementChild" : "firstElementChild";
  while (target.children.length > most) target[oldest].remove();
}

document.querySelectorAll("[data-live]").forEach((root) => new Live(root));
