// Fresh: a part of a page that asks for itself anew (htmx, hx-trigger="every 5s") says when it is not of now.
//
//   <div id="now" hx-get="/desk" hx-trigger="every 5s" hx-swap="outerHTML" data-fresh="5"> … </div>
//   <p class="live"> … data-live-state … </p>          (macro `live`; its states are those of live.js)
import { tellState } from "./said.js";

const LATE_ROUNDS = 3;

const part = () => document.querySelector("[data-fresh]");
let heardAt = Date.now();
let state = "";
let lastAnswer = "";

function show(next) {
  if (next === state) return;
  state = next;
  tellState(state, new Date(heardAt));
}

function watch() {
  const asked = part();
  if (!asked) return; // it has come to its end
  const late = Number(asked.dataset.fresh) * LATE_ROUNDS * 1000;
  if (Date.now() - heardAt > late) show("stale");
}

document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.elt?.matches?.("[data-fresh]") && event.detail.target?.id !== part()?.id) return;
  if (event.detail.successful) {
    heardAt = Date.now();
    show("live");
  } else if (state !== "stale") {
    show("reconnecting");
  }
});
/** What has not changed stays: whoever is in it by keyboard, or marks a number in it, is not thrown out. */
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.elt?.matches?.("[data-fresh]")) return;
  const answer = event.detail.serverResponse;
  if (answer === lastAnswer) event.detail.shouldSwap = false;
  else lastAnswer = answer;
});
setInterval(watch, 1000);
show("live");
