// Back: by the browser's own way back a page would come as it was left, with the money of then. It is loaded anew, and
// what is shown once does not come back at all.
//
//   <html data-answers="done|refused">        the page is the answer to a form; its address takes nothing but that form
//   <div data-shown-once>…</div>              taken away as soon as the page is left
//
// A refusal takes the address of the page that its form stood on, so loading it again asks for that page and does not
// send the form once more: a PIN sent twice is two of five tries.
const page = document.documentElement;
const { referrer } = document; // of an answer: the page that its form stood on
const isOurs = referrer.startsWith(`${location.origin}/`);

if (page.dataset.answers === "refused" && isOurs) history.replaceState(null, "", referrer);

addEventListener("pagehide", () => {
  for (const shown of document.querySelectorAll("[data-shown-once]")) shown.remove();
});

addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  document.body.style.visibility = "hidden"; // until it is here
  if (page.dataset.answers === "done") location.replace(isOurs ? referrer : "/");
  else location.reload();
});
