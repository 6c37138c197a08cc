// Installable page: registers the service worker and offers to install.
//
//   <html data-worker="/sw.js?v=MARK&lang=en">
//   <button type="button" data-install hidden>…</button>     shown while the browser would install the page; where a
//                                                            page has none, the browser offers it in its own way
//   <p data-offline role="status" hidden>…</p>               shown while there is no network
//
// <html data-network="online|offline"> tells the same to the style sheet.
const page = document.documentElement;

if (page.dataset.worker && isSecureContext && "serviceWorker" in navigator) {
  // Refused where the certificate is not trusted; the page works without.
  navigator.serviceWorker.register(page.dataset.worker, { scope: "/", updateViaCache: "none" }).catch(() => {});
}

function showNetwork() {
  page.dataset.network = navigator.onLine ? "online" : "offline";
  for (const place of document.querySelectorAll("[data-offline]")) place.hidden = navigator.onLine;
}

function offer(isPossible) {
  for (const button of document.querySelectorAll("[data-install]")) button.hidden = !isPossible;
}

let prompt = null;

addEventListener("online", showNetwork);
addEventListener("offline", showNetwork);
addEventListener("beforeinstallprompt", (event) => {
  if (!document.querySelector("[data-install]")) return;
  event.preventDefault();
  prompt = event;
  offer(true);
});
addEventListener("appinstalled", () => offer(false));
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-install]") || !prompt) return;
  prompt.prompt();
  prompt = null;
  offer(false);
});
showNetwork();
