// The log of a build: scrolled, followed, folded and searched in place. The pane holds the chunks around what is in sight;
// two spacers stand for the others.

{
  const section = first("#log");
  if (section && first(".pane", section)) viewer(section);
}

function viewer(section) {
  const maxElements = 3000; // in the pane; a chunk has at most 800
  const maxSegment = 4000;  // chunks that the scroll bar spans
  const maxCached = 400;
  const maxAsked = 40;      // chunks in one request

  const pane = first(".pane", section);
  const size = Number(section.dataset.size);
  const address = new URL(section.dataset.path, location.href);
  let total = Number(section.dataset.total);
  let folds = JSON.parse(section.dataset.folds || "[]");

  const cache = new Map();   // chunk => HTML of its lines
  const shown = new Map();   // chunk => element
  const heights = new Map(); // chunk => pixels, as measured
  const asked = new Set();   // chunks on their way
  const above = document.createElement("div"), below = document.createElement("div");
  let low = 0;               // first chunk of the segment
  let hit = 0, following = false, lastTop = 0;

  const under = (path, query) => {
    const url = new URL(address.pathname + "/" + path + address.search, address);
    for (const name in query) url.searchParams.set(name, query[name]);
    return url;
  };
  const chunkOf = (line) => Math.floor((line - 1) / size);
  const chunks = () => Math.ceil(total / size);
  const high = () => Math.min(chunks(), low + maxSegment);
  const linesIn = (n) => Math.max(0, Math.min(size, total - n * size));
  const complete = (n) => cache.has(n) && cache.get(n).length >= linesIn(n);
  const lineHeight = () => parseFloat(getComputedStyle(pane).lineHeight) || 20;

  // -- Folds: lines below a headline that are hidden --

  const folded = new Set();   // headlines
  let hidden = [];            // [from, to], in order, apart from one another
  let hiddenIn = new Map();   // chunk => how many of its lines are hidden

  function refold() {
    const ranges = folds.filter((f) => folded.has(f.head)).map((f) => [f.first, f.last || total]).sort((a, b) => a[0] - b[0]);
    hidden = [];
    for (const r of ranges) {
      const last = hidden.at(-1);
      if (last && r[0] <= last[1] + 1) last[1] = Math.max(last[1], r[1]);
      else hidden.push(r);
    }
    hiddenIn = new Map();
    for (const [from, to] of hidden) {
      for (let n = chunkOf(from); n <= chunkOf(to); n++) {
        const count = Math.min(to, (n + 1) * size) - Math.max(from, n * size + 1) + 1;
        hiddenIn.set(n, (hiddenIn.get(n) || 0) + count);
      }
    }
  }

  function isHidden(line) {
    if (!hiddenIn.get(chunkOf(line))) return false;
    let a = 0, b = hidden.length;
    while (a < b) {
      const m = (a + b) >> 1;
      if (hidden[m][1] < line) a = m + 1; else b = m;
    }
    return a < hidden.length && hidden[a][0] <= line;
  }

  function toggle(heads, fold) {
    keeping(() => {
      for (const h of heads) if (fold) folded.add(h); else folded.delete(h);
      refold();
      heights.clear();
      for (const n of [...shown.keys()]) drop(n);
    });
  }

  // -- What is where --

  function height(n) {
    if (heights.has(n)) return heights.get(n);
    return Math.max(0, linesIn(n) - (hiddenIn.get(n) || 0)) * lineHeightNow;
  }
  let lineHeightNow = 20;

  function offset(n) {
    let y = 0;
    for (let i = low; i < n; i++) y += height(i);
    return y;
  }

  // fill puts the lines of a chunk into its element, from the given one on.
  function fill(n, from = 0) {
    const element = shown.get(n), lines = cache.get(n);
    if (!element || !lines) return;
    element.style.height = "";
    if (from > 0 && element.children.length >= from && !hiddenIn.get(n)) {
      while (element.children.length > from) element.lastChild.remove();
      element.insertAdjacentHTML("beforeend", lines.slice(from).join(""));
    } else {
      element.innerHTML = lines.filter((_, i) => !isHidden(n * size + i + 1)).join("");
    }
    for (const f of folds) {
      if (chunkOf(f.head) !== n) continue;
      const line = document.getElementById("L" + f.head);
      if (!line || line.parentNode !== element || first(".fold", line)) continue;
      const button = document.createElement("button");
      button.className = "fold";
      button.type = "button";
      button.dataset.head = f.head;
      button.ariaExpanded = String(!folded.has(f.head));
      button.ariaLabel = "Lines " + f.first + " to " + (f.last || "the end");
      line.firstChild.after(button);
      line.classList.add("headline");
    }
    if (hit && chunkOf(hit) === n) document.getElementById("L" + hit)?.classList.add("hit");
  }

  function drop(n) {
    shown.get(n)?.remove();
    shown.delete(n);
  }

  function add(n) {
    const element = document.createElement("div");
    element.className = "chunk";
    element.dataset.n = n;
    const next = [...shown.keys()].filter((m) => m > n).sort((a, b) => a - b)[0];
    pane.insertBefore(element, next === undefined ? below : shown.get(next));
    shown.set(n, element);
    if (cache.has(n)) fill(n);
    else element.style.height = height(n) + "px";
  }

  // place is the line at the upper edge of the pane, and where it is.
  function place() {
    let n = low, y = 0;
    while (n < high() - 1 && y + height(n) <= pane.scrollTop) y += height(n++);
    const e = [...shown.get(n)?.children ?? []].find((e) => e.offsetTop + e.offsetHeight > pane.scrollTop);
    return e ? { line: Number(e.id.slice(1)), y: e.offsetTop - pane.scrollTop } : { line: n * size + 1, y: y - pane.scrollTop };
  }

  // keeping changes the pane, and keeps what is at its upper edge there. A line that is hidden now gives its place to the
  // headline above.
  function keeping(change, { line, y } = place()) {
    change();
    if (isHidden(line)) line = Math.max(1, hidden.findLast((r) => r[0] <= line)[0] - 1);
    const n = chunkOf(line), old = document.getElementById("L" + line);
    scrollTo(offset(n) + (old ? old.offsetTop - shown.get(n).offsetTop : 0) - y);
    update();
    for (let i = 0; i < 2; i++) { // heights become known as chunks come into the pane
      const now = document.getElementById("L" + line);
      if (!now || Math.abs(now.offsetTop - pane.scrollTop - y) <= 1) break;
      scrollTo(now.offsetTop - y);
      update();
    }
  }

  // staying changes the pane, and stays at the end if the log is followed.
  function staying(change) {
    if (following && !atEnd()) follow(false); // the reader has just scrolled up
    if (!following) return keeping(change);
    change();
    toEnd();
  }

  function scrollTo(y) {
    pane.scrollTop = y;
    lastTop = pane.scrollTop;
  }

  // update makes the pane hold the chunks around what is in sight, and asks for those it does not have.
  function update() {
    lineHeightNow = lineHeight();
    const at = pane.scrollTop, view = pane.clientHeight, top = at - view, bottom = at + 2 * view, middle = at + view / 2;
    const want = [], distance = new Map();
    let y = 0;
    for (let n = low; n < high() && y < bottom; n++) {
      const h = height(n);
      if (h > 0 && y + h > top) {
        want.push(n);
        distance.set(n, Math.abs(y + h / 2 - middle));
      }
      y += h;
    }
    for (const n of [...shown.keys()]) if (!distance.has(n)) drop(n);
    const near = [...want].sort((a, b) => distance.get(a) - distance.get(b));
    for (const n of near) {
      if (!shown.has(n)) add(n);
      if (pane.getElementsByTagName("*").length > maxElements && shown.size > 1) {
        let far = n; // the farthest goes
        for (const m of shown.keys()) if (distance.get(m) > distance.get(far)) far = m;
        drop(far);
        if (far === n) break;
      }
    }
    for (const [n, e] of shown) if (cache.has(n)) heights.set(n, e.getBoundingClientRect().height);
    const order = [...shown.keys()].sort((a, b) => a - b);
    const start = order.length ? offset(order[0]) : 0;
    let rest = 0;
    for (let n = order.length ? order.at(-1) + 1 : low; n < high(); n++) rest += height(n);
    above.style.height = start + "px";
    below.style.height = rest + "px";
    if (pane.scrollTop !== at) scrollTo(at); // it was cut while the pane was shorter
    load(near.filter((n) => shown.has(n) && !complete(n)));
  }

  async function load(wanted) {
    const missing = wanted.filter((n) => !asked.has(n)).slice(0, maxAsked);
    if (!missing.length) return;
    missing.forEach((n) => asked.add(n));
    const answer = await fetch(under("lines", { chunks: missing.join(",") })).catch(() => null);
    const data = answer?.ok ? await answer.json().catch(() => null) : null;
    const stuck = new Set(data ? [] : missing); // asked for again, but not at once
    for (const c of data?.chunks ?? []) {
      if (c.lines.length < linesIn(c.n) && c.lines.length <= (cache.get(c.n)?.length ?? 0)) stuck.add(c.n);
      cache.set(c.n, c.lines);
    }
    for (const n of missing) if (!stuck.has(n)) asked.delete(n);
    if (stuck.size) setTimeout(() => { stuck.forEach((n) => asked.delete(n)); update(); }, 2000);
    if (!data) return;
    staying(() => {
      total = Math.max(total, data.total);
      for (const c of data.chunks) {
        heights.delete(c.n);
        fill(c.n);
      }
      for (const n of cache.keys()) {
        if (cache.size <= maxCached) break;
        if (!shown.has(n)) cache.delete(n);
      }
    });
  }

  // segment makes the scroll bar span the chunks around one.
  function segment(n) {
    low = Math.max(0, Math.min(n - maxSegment / 2, chunks() - maxSegment));
  }

  // aim makes the segment hold a chunk, and goes there.
  async function aim(n) {
    n = Math.max(0, Math.min(n, chunks() - 1));
    if (n < low || n >= high()) segment(n);
    scrollTo(offset(n));
    update();
    for (let tries = 0; tries < 50 && !complete(n); tries++) {
      await new Promise((done) => setTimeout(done, 100));
      update();
    }
    scrollTo(offset(n));
    update();
  }

  async function go(line) {
    if (!line || !total) return;
    follow(false);
    line = Math.min(line, total);
    const open = folds.filter((f) => folded.has(f.head) && f.first <= line && line <= (f.last || total));
    if (open.length) toggle(open.map((f) => f.head), false);
    await aim(chunkOf(line));
    mark(line);
    const e = document.getElementById("L" + line);
    if (!e) return;
    scrollTo(e.offsetTop - pane.clientHeight / 3);
    update();
    scrollTo(e.offsetTop - pane.clientHeight / 3);
    if (section.getBoundingClientRect().bottom > innerHeight || pane.getBoundingClientRect().top < 0) section.scrollIntoView({ block: "start" });
  }

  function mark(line) {
    for (const e of every(".l.hit", pane)) e.classList.remove("hit");
    hit = line;
    document.getElementById("L" + line)?.classList.add("hit");
    const url = new URL(address);
    url.searchParams.set("line", line);
    url.hash = "L" + line;
    history.replaceState(null, "", url);
  }

  // -- Following --

  const followButton = first(".follow", section);

  function follow(on) {
    following = on;
    followButton.ariaPressed = String(on);
    if (on) toEnd();
  }

  // atEnd is true while the log is followed, but for what the reader does.
  function atEnd() {
    return pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
  }

  function toEnd() {
    if (chunks() > high()) segment(chunks());
    for (let i = 0; i < 3; i++) { // heights become known as chunks come into the pane
      scrollTo(pane.scrollHeight);
      update();
    }
    scrollTo(pane.scrollHeight);
  }

  let waiting = 0, width = pane.clientWidth, before = { line: 1, y: 0 }; // the place before the pane got another width
  pane.addEventListener("scroll", () => {
    if (following && !atEnd()) follow(false);
    else if (pane.scrollTop > lastTop + 1 && live && !following && chunks() <= high() && atEnd()) follow(true);
    lastTop = pane.scrollTop;
    if (!waiting) waiting = requestAnimationFrame(() => {
      waiting = 0;
      update();
      const at = chunkOf(place().line); // near an end of the segment another begins
      if (at - low < 50 && low > 0 || high() - at < 50 && high() < chunks()) keeping(() => segment(at));
      if (pane.clientWidth === width) before = place();
    });
  }, { passive: true });

  // grow takes lines that are new or have grown.
  function grow(event) {
    if (event.total < total) { // the log was cut after a crash, and comes again
      cache.clear();
      heights.clear();
    }
    const dirty = new Map(); // chunk => first line that changed
    event.lines.forEach((html, i) => {
      const line = event.from + i, n = chunkOf(line), k = (line - 1) % size;
      if (k === 0 && !cache.has(n)) cache.set(n, []);
      const lines = cache.get(n);
      if (!lines || lines.length < k || lines[k] === html) return;
      lines[k] = html;
      if (!dirty.has(n)) dirty.set(n, k);
    });
    const was = total;
    total = event.total;
    if (hidden.length) refold();
    if (total) first(".none", pane)?.remove();
    staying(() => {
      for (const [n, k] of dirty) { heights.delete(n); fill(n, k); }
      if (was) heights.delete(chunkOf(was));
    });
  }

  // -- Live --

  let live = "live" in section.dataset;

  function listen() {
    const source = new EventSource(under("events", { from: total }));
    source.addEventListener("log", (event) => grow(JSON.parse(event.data)));
    source.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      document.title = state.title + " · buildsmith";
      summarize(state.summary);
      if (JSON.stringify(folds) !== JSON.stringify(state.folds)) {
        folds = state.folds || [];
        if (folded.size) refold();
        for (const n of shown.keys()) if (folds.some((f) => chunkOf(f.head) === n)) fill(n);
        buttons();
      }
    });
    source.addEventListener("end", () => {
      source.close();
      live = false;
      follow(false);
      buttons();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    });
  }

  const summary = first("#summary");
  let late = null; // a summary that waits until nobody works in the old one

  function summarize(html) {
    late = summary.contains(document.activeElement) ? html : null;
    if (late !== null) return;
    const open = every("details[open]", summary).map((d) => d.id);
    summary.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  }

  summary.addEventListener("focusout", () => setTimeout(() => { if (late !== null) summarize(late); }));

  // -- Buttons, links and search --

  const foldAll = first(".fold-all", section);

  function buttons() {
    followButton.hidden = !live;
    const heads = folds.filter((f) => f.command).map((f) => f.head);
    foldAll.hidden = heads.length < 2;
    const all = heads.length > 0 && heads.every((h) => folded.has(h));
    foldAll.textContent = all ? "Unfold commands" : "Fold commands";
    foldAll.onclick = () => { toggle(heads, !all); buttons(); };
  }

  followButton.onclick = () => follow(!following);
  pane.addEventListener("click", (event) => {
    const button = event.target.closest(".fold");
    if (!button) return;
    const head = Number(button.dataset.head);
    toggle([head], !folded.has(head));
    buttons();
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href*='#L']");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.pathname !== address.pathname) return;
    const line = Number(link.hash.slice(2));
    event.preventDefault();
    if (pane.contains(link)) mark(line); else go(line);
  });

  first(".jump", section).addEventListener("submit", (event) => {
    event.preventDefault();
    go(Number(event.target.elements.line.value));
  });

  const results = first(".results", section);

  async function search(url, more) {
    url = new URL(url, location.href);
    url.searchParams.set("part", "1");
    const answer = await fetch(url).catch(() => null);
    const text = answer?.ok ? await answer.text() : '<div class="found"><p>The search did not work. Try again in a moment.</p></div>';
    if (more) more.closest("p").outerHTML = ""; else results.replaceChildren();
    if (!more) {
      const close = document.createElement("button");
      close.type = "button";
      close.className = "quiet close";
      close.textContent = "Close";
      close.onclick = () => { results.hidden = true; };
      results.append(close);
    }
    while (results.getElementsByTagName("li").length >= 200) results.getElementsByTagName("li")[0].remove();
    results.insertAdjacentHTML("beforeend", text);
    results.hidden = false;
  }

  first(".find", section).addEventListener("submit", (event) => {
    event.preventDefault();
    search(under("search", { q: event.target.elements.q.value }));
  });
  results.addEventListener("click", (event) => {
    const next = event.target.closest("a.next");
    if (!next) return;
    event.preventDefault();
    search(next.href, next);
  });

  // -- Beginning --

  for (const e of every(".more-lines", section)) e.hidden = true;
  const sent = every(".chunk", pane);
  pane.prepend(above);
  pane.append(below);
  for (const e of sent) {
    const n = Number(e.dataset.n);
    cache.set(n, [...e.children].map((line) => line.outerHTML));
    shown.set(n, e);
    fill(n);
  }
  const anchor = Number(section.dataset.anchor);
  segment(chunkOf(anchor));
  const start = document.getElementById("L" + anchor);
  const named = Number(location.hash.startsWith("#L") ? location.hash.slice(2) : 0);
  lineHeightNow = lineHeight();
  for (const [n, e] of shown) heights.set(n, e.getBoundingClientRect().height);
  if (shown.size) above.style.height = offset(Math.min(...shown.keys())) + "px";
  if (start) {
    if ("asked" in section.dataset) hit = anchor;
    scrollTo(hit ? start.offsetTop - pane.clientHeight / 3 : start.offsetTop + start.offsetHeight + 3 * lineHeightNow - pane.clientHeight);
  }
  update();
  if (named && named !== anchor) go(named);
  buttons();
  if (live) {
    if (!hit && !named) follow(true);
    listen();
  }
  addEventListener("hashchange", () => { if (location.hash.startsWith("#L")) go(Number(location.hash.slice(2))); });
  new ResizeObserver(() => {
    if (!pane.clientWidth) return;
    const same = pane.clientWidth === width;
    width = pane.clientWidth;
    if (!same) heights.clear();
    if (following) toEnd();
    else if (!same) keeping(() => {}, before);
  }).observe(pane);
}
