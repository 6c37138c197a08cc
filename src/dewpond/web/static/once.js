// Once: a form that was sent is not sent again while its answer is on its way. (The house is deaf to the second time
// as well; this spares somebody with a quick finger the surprise.)
const SENT = "sent";

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (SENT in form.dataset) {
    event.preventDefault();
    return;
  }
  form.dataset[SENT] = "";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-busy", "true");
});

// Back by the browser's own way the page is as it was left.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset[SENT];
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});
