// Once: a form that was sent is not sent again while its answer is on its way. (Where money moves the house is deaf to
// the second time as well; this spares somebody with a quick finger the surprise.)
//
// <form aria-busy="true"> and its buttons alike, as long as that lasts; a form whose answer was stopped is free again.
const LONGEST_MS = 20_000; // for browsers that do not say that somebody stopped the answer

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if ("sent" in form.dataset) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "";
  setBusy(form, true);
  setTimeout(free, LONGEST_MS, form);
});

globalThis.navigation?.addEventListener("navigateerror", () => {
  document.querySelectorAll("form[data-sent]").forEach(free);
});

/** Let a form be sent again. */
export function free(form) {
  delete form.dataset.sent;
  setBusy(form, false);
}

/** Show that a form's answer is on its way, or no more. */
export function setBusy(form, isBusy) {
  for (const part of [form, ...form.querySelectorAll("button")]) {
    if (isBusy) part.setAttribute("aria-busy", "true");
    else part.removeAttribute("aria-busy");
  }
}
