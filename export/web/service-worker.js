// Keeps everything that the page has fetched, so that it works without a network. A file is asked for anew each time,
// and the kept copy answers when there is no network: a new model replaces the old one at the next visit.

const KEPT = "tfsent-1";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && new URL(event.request.url).origin === location.origin) {
    event.respondWith(freshOrKept(event.request));
  }
});

async function freshOrKept(request) {
  const kept = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok) await kept.put(request, answer.clone());
    return answer;
  } catch (error) {
    const copy = await kept.match(request);
    if (copy) return copy;
    throw error;
  }
}
