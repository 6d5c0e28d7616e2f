// Keeps what the page fetches, so that it works without a network. A file with a hash in its address never changes: the
// kept copy answers, until a new model's file takes its place. Other files are asked for anew if there is a network.

const KEPT = "tfsent";
// What a first visit fetches before this worker listens.
const FIRST = ["./", "style.css", "app.js"];

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(KEPT).then((kept) => kept.addAll(FIRST)));
});
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  event.respondWith(url.searchParams.has("sha256") ? keptOrFresh(event.request) : freshOrKept(event.request));
});

async function keptOrFresh(request) {
  const kept = await caches.open(KEPT);
  return (await kept.match(request)) ?? keep(kept, request, await fetch(request), { ignoreSearch: true });
}

async function freshOrKept(request) {
  const kept = await caches.open(KEPT);
  const answer = await fetch(request).catch(() => null);
  const page = request.mode === "navigate"; // ?model=URL names no other page
  if (answer) return keep(kept, request, answer);
  return (await kept.match(request, { ignoreSearch: page })) ?? Response.error();
}

// Puts an answer in the place of the older one. Where there is no room, the page goes on with the answer alone.
async function keep(kept, request, answer, older) {
  if (answer.ok) {
    const copy = answer.clone();
    if (older) await kept.delete(request, older);
    await kept.put(request, copy).catch(() => {});
  }
  return answer;
}
