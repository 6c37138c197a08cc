// Live: keeps a page at the present by server-sent events, and says so when it cannot.
//
//   <main data-live="/m/1900000109/live?after=4711">
//     <p data-live-state role="status" data-said-live data-said-reconnecting data-said-ended
//        data-said-stale="… {since} …" data-said-resting="… {since} …"></p>
//     <p data-live-news role="status" data-said-more="{news} …{count}…"></p>
//     <ol id="payments" data-live-most="50">…</ol>
//
// The stream's events have a position as id and JSON as data:
//   {"html": {"#payments": {"how": "prepend", "html": "…"}}, "drop" or "drops": …, "reload": true, "rest": true}
// `how` is prepend or append (children; data-live-most rows are kept) or replace (the element itself). A piece whose id
// is on the page already takes that one's place: nothing is shown twice. A list with data-live-sorted keeps its order
// by each row's data-at. The data-news of a new row is read out, to whoever does not see it come, every few seconds.
// `rest` says that a newer line of this session takes this one's place: the page waits until somebody comes back to it.
// Told to others on `document`: dewpond:live (each message), dewpond:drop (those with drops), dewpond:live-state.
// <html data-live-now="connecting|live|reconnecting|stale|resting|ended"> lets the style sheet mark what may be old.
//
// Not EventSource: that hides the server's heartbeat (so a dead line looks alive), gives up for good at the first 502
// of a restart, and a new one in its place cannot be told by header where to begin.
import { tellState } from "./said.js";

const SILENCE_MS = 40_000; // the server says something every 15 s
const STALE_MS = 10_000;
const GOOD_MS = 5_000; // a line that held this long begins with short pauses again
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const RELOAD_SPREAD_MS = 2_000;
// Browsers keep six connections to a server, for all of its tabs: a page that nobody sees gives its own back.
const HIDDEN_MS = 3_000;
const NEWS_MS = 5_000;

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
    addEventListener("focus", () => this.isResting && this.wake());
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
    this.isResting = false;
    const connection = (this.connection = new AbortController());
    try {
      const headers = { accept: "text/event-stream", ...(this.position && { "last-event-id": this.position }) };
      const reply = await fetch(this.root.dataset.live, { headers, cache: "no-store", signal: connection.signal });
      if (reply.status === 401 && this.position) {
        location.reload(); // signed out meanwhile: what was shown until then is nobody's any more
        return;
      }
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
    if (this.isResting) {
      this.leave();
      this.show("resting");
      return;
    }
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
    if (this.state === "ended" || this.isResting || document.hidden) return;
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
    if (message.rest) this.isResting = true; // the line ends with this
    if (message.reload) setTimeout(() => location.reload(), Math.random() * RELOAD_SPREAD_MS);
  }

  show(state) {
    if (state === this.state) return;
    this.state = state;
    const since = new Date(this.heardAt);
    tellState(state, since);
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
    if (pieces.length === 1) takePlace(target, pieces[0]);
    else undisturbed(() => target.replaceWith(...pieces));
  } else {
    const news = pieces.filter((piece) => piece.dataset.news && piece.dataset.news !== shown(piece)?.dataset.news);
    if ("liveSorted" in target.dataset) {
      for (const piece of [...pieces].reverse()) sortIn(target, piece);
    } else {
      const fresh = pieces.filter((piece) => {
        const old = shown(piece);
        if (old) takePlace(old, piece);
        return !old;
      });
      if (how === "prepend") target.prepend(...fresh);
      else target.append(...fresh);
    }
    trim(target, how);
    hear(news.map((piece) => piece.dataset.news));
  }
  for (const piece of pieces) if (piece.isConnected) globalThis.htmx?.process(piece);
}

/** Put a row where its data-at belongs, the newest first. One that is older than all of a list of which only the
 * beginning is here comes with the rest of it. */
function sortIn(target, piece) {
  const old = shown(piece);
  const row = old ? takePlace(old, piece) : piece;
  const next = [...target.children].find((other) => other !== row && other.dataset.at <= row.dataset.at);
  if (!next && !old && document.querySelector(`#${target.id}-more a`)) return;
  if (next ? next.previousElementSibling !== row : target.lastElementChild !== row) {
    undisturbed(() => target.insertBefore(row, next ?? null));
  }
}

function shown(piece) {
  return piece.id ? document.getElementById(piece.id) : null;
}

/** Put a piece where an element was, unless it is the same; which of them is there now. What somebody opened inside of
 * it stays open. */
function takePlace(old, piece) {
  for (const fold of piece.querySelectorAll("details[id]")) fold.open = shown(fold)?.open ?? fold.open;
  if (old.isEqualNode(piece)) return old;
  undisturbed(() => old.replaceWith(piece));
  return piece;
}

/** Change the page; whoever was by keyboard at something that was put anew, or moved, stays at it. */
function undisturbed(change) {
  const held = document.activeElement;
  change();
  if (held?.id && document.activeElement !== held) document.getElementById(held.id)?.focus({ preventScroll: true });
}

function trim(target, how) {
  const most = Number(target.dataset.liveMost) || Infinity;
  const oldest = how === "prepend" ? "lastElementChild" : "firstElementChild";
  while (target.children.length > most) target[oldest].remove();
}

// --- what is read out ------------------------------------------------------------------------------------------------

const untold = []; // the newest first
let pause = 0;

function hear(news) {
  untold.unshift(...news);
  if (untold.length && !pause) tellNews();
}

function tellNews() {
  const [newest = "", ...others] = untold.splice(0);
  for (const place of document.querySelectorAll("[data-live-news]")) {
    const more = place.dataset.saidMore ?? "{news}";
    place.textContent = others.length ? more.replace("{news}", () => newest).replace("{count}", others.length) : newest;
  }
  pause = newest ? setTimeout(tellNews, NEWS_MS) : 0; // it is taken away then, or the same again would not be read
}

document.querySelectorAll("[data-live]").forEach((root) => new Live(root));
