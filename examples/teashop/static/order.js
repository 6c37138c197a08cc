// Keeps an order's page true: takes what the shop tells, counts the time that is left, gives back without leaving.
"use strict";

const voice = document.getElementById("voice");
const lost = document.getElementById("lost");
let order = document.getElementById("order");
let end = null;

// The order's section as it came in a page or an event; older than what is shown it is late, and left out.
function take(text, { again = false } = {}) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("order");
  const [seen, news] = [Number(order.dataset.version), Number(fresh.dataset.version)];
  if (news < seen) return;
  setClock(fresh.dataset.seconds);
  if (news === seen && !again) return;
  const hadFocus = order.contains(document.activeElement);
  order.replaceWith(fresh);
  order = fresh;
  document.title = fresh.dataset.title;
  voice.textContent = fresh.dataset.told;
  if (hadFocus) fresh.querySelector("h1").focus();
}

function setClock(seconds) {
  end = seconds === "" ? null : performance.now() + Number(seconds) * 1000;
}

setInterval(() => {
  const clock = document.getElementById("clock");
  if (clock === null || end === null) return;
  const left = Math.max(0, Math.round((end - performance.now()) / 1000));
  order.classList.toggle("stale", left === 0); // what nobody can pay any more should not look as if
  clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}, 1000);

function listen() {
  const events = new EventSource(order.dataset.events);
  events.onopen = () => (lost.hidden = true);
  events.onmessage = (event) => take(JSON.parse(event.data));
  events.onerror = () => {
    lost.hidden = false;
    // It comes back by itself, unless the shop said no: then the whole page says why.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  };
}

document.addEventListener("submit", async (event) => {
  if (!event.target.matches(".staff")) return; // a new order has a page of its own
  const body = new URLSearchParams(new FormData(event.target, event.submitter));
  event.preventDefault();
  for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  try {
    const answer = await fetch(event.target.action, { method: "POST", body, headers: { Accept: "text/html" } });
    take(await answer.text(), { again: true });
  } catch {
    location.reload();
  }
});

setClock(order.dataset.seconds);
listen();
