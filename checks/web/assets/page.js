// The script of all pages, which can be read and used without it. Here times go on and lists refresh themselves; log.js
// is sent behind this in the same file.
"use strict";

const first = (selector, root = document) => root.querySelector(selector);
const every = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- Times, as views.go writes them ----

function length(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 10) return (Math.max(ms, 0) / 1000).toFixed(1) + " s";
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + s % 60 + " s";
  return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
}

function ago(ms) {
  const s = Math.floor(ms / 1000);
  if (s < -5) return "in " + length(-ms);
  if (s < 10) return "just now";
  if (s < 60) return s + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 172800) return Math.floor(s / 3600) + " h ago";
  return Math.floor(s / 86400) + " days ago";
}

setInterval(() => {
  const now = Date.now();
  for (const e of every("[data-since]")) e.textContent = length(now - e.dataset.since);
  for (const e of every("time[datetime]")) {
    const text = ago(now - Date.parse(e.dateTime));
    if (e.textContent !== text) e.textContent = text;
  }
}, 1000);

// ---- Forms and lists ----

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

const list = first("[data-refresh]");
if (list) {
  setInterval(async () => {
    if (document.hidden || list.contains(document.activeElement)) return;
    const answer = await fetch(location.href, { redirect: "error" }).catch(() => null);
    if (!answer?.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(list.id);
    if (fresh) list.replaceChildren(...fresh.childNodes);
  }, list.dataset.refresh * 1000);
}
