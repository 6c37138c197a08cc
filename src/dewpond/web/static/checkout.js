// Checkout: tells the time that is left, second by second, and looks again when it is over; sends a yes without leaving
// the page, so that a lost connection loses nothing.
//
//   <span data-countdown="873" data-address="/q/CODE">14:33</span>        data-stands: this world's clock stands still
//
// A refused form leaves the page under the form's address, where "reload" would send the PIN once more and spend a try:
// so the page takes its own address back.
//
//   <form method="post" action="/q/CODE/confirmation" data-pays="/q/CODE" data-said-slow data-said-offline
//      data-said-failed>
//     <p data-problem role="alert" hidden></p>
//   </form>
//
// Where a person can mend it (a wrong PIN), it is said in the form; where things stand otherwise by now (too late, not
// enough in the wallet), the page is loaded anew and says how. Without JavaScript the form is sent as any other.
import { free, setBusy } from "./once.js";
import { sentence, tell } from "./said.js";

const MENDED_HERE = new Set([
  "pin_wrong", "pin_invalid", "proof_refused", "challenge_spent", "passkey_refused", "passkey_unknown", "busy",
  "outcome_unknown", "too_many_tries",
]);

const SLOW_MS = 8_000;
const GIVEN_UP_MS = 45_000; // longer than any answer takes: whoever should have given it has stopped

for (const place of document.querySelectorAll("[data-countdown]")) {
  const { countdown, address, stands } = place.dataset;
  if (location.pathname !== address) history.replaceState(null, "", address);
  if (stands === undefined) tick(place, performance.now() + Number(countdown) * 1_000, address);
}

function tick(place, end, address) {
  const left = Math.max(0, Math.ceil((end - performance.now()) / 1_000));
  const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  if (place.textContent !== text) place.textContent = text;
  if (left > 0) setTimeout(tick, 250, place, end, address);
  else location.replace(address);
}

const sending = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.pays === undefined) return;
  event.preventDefault();
  if (!sending.has(form)) pay(form);
});

async function pay(form) {
  sending.add(form);
  setBusy(form, true);
  tell(form, "");
  const slow = setTimeout(tell, SLOW_MS, form, sentence(form, "slow"));
  const problem = await send(form);
  clearTimeout(slow);
  if (!problem) return; // on the way to another page
  sending.delete(form);
  free(form);
  const pin = form.elements.namedItem("pin");
  if (pin) {
    pin.value = "";
    pin.dispatchEvent(new Event("input", { bubbles: true })); // who draws it, draws it empty
    pin.focus();
  }
  tell(form, problem);
}

/** What to say; nothing where another page comes. */
async function send(form) {
  const given = [...new FormData(form)].filter(([, value]) => typeof value === "string");
  const headers = { accept: "application/json", "content-type": "application/x-www-form-urlencoded" };
  const asked = { method: "POST", headers, body: new URLSearchParams(given).toString() };
  let reply, told;
  try {
    reply = await fetch(form.action, { ...asked, signal: AbortSignal.timeout?.(GIVEN_UP_MS) });
    told = await reply.json().catch(() => ({}));
  } catch {
    return sentence(form, "offline"); // whether it came through, nobody knows; a second yes pays nothing twice
  }
  if (reply.ok && told.receipt) location.replace(told.receipt);
  else if (told.title && (MENDED_HERE.has(told.code) || reply.status >= 500)) return told.title;
  else if (reply.status >= 500 || reply.ok) return sentence(form, "failed");
  else location.replace(form.dataset.pays);
  return "";
}
