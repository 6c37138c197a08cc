// Service worker: keeps the shell of the installed page, and only that. Registered as /sw.js?v=MARK&lang=LANGUAGE,
// where MARK is the folder of this release's static files: another release or language is another worker.
//
// Kept: /static/MARK/… (the mark changes with the content) and /offline as nobody sees it (fetched without cookies).
// Never kept: pages, whatever they show of money; anything that is not a GET; event streams; other releases' files.
// A page that cannot be reached is answered by /offline.
const asked = new URL(self.location).searchParams;
const SHELL = `shell-${asked.get("v")}-${asked.get("lang")}`;
const OWN = `/static/${asked.get("v")}/`;
const OFFLINE = "/offline";

self.addEventListener("install", (event) => event.waitUntil(fill()));
self.addEventListener("activate", (event) => event.waitUntil(takeOver()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (request.mode === "navigate") event.respondWith(page(event));
  else if (url.pathname.startsWith(OWN) && !request.headers.has("range")) event.respondWith(kept(request));
});

async function fill() {
  const headers = asked.has("lang") ? { "accept-language": asked.get("lang") } : {};
  const reply = await fetch(OFFLINE, { cache: "reload", credentials: "omit", headers });
  if (!reply.ok || reply.redirected) throw new Error("there is no offline page");
  const text = await reply.clone().text();
  const named = [...text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, address]) => address);
  const shell = await caches.open(SHELL);
  await shell.addAll([...new Set(named)].filter((address) => address.startsWith(OWN)));
  await shell.put(OFFLINE, reply);
  await self.skipWaiting();
}

async function takeOver() {
  const old = (await caches.keys()).filter((name) => name.startsWith("shell-") && name !== SHELL);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.registration.navigationPreload?.enable();
  await self.clients.claim();
}

async function page(event) {
  try {
    return (await event.preloadResponse) ?? (await fetch(event.request));
  } catch {
    const shell = await caches.open(SHELL);
    return (await shell.match(OFFLINE)) ?? Response.error();
  }
}

async function kept(request) {
  const shell = await caches.open(SHELL);
  const found = await shell.match(request);
  if (found) return found;
  const reply = await fetch(request);
  if (reply.status === 200 && reply.type === "basic") await shell.put(request, reply.clone());
  return reply;
}
