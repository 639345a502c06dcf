// Runs on the search page, below the sections: what their row of "All runs" holds is searched.
"use strict";
(async () => {
  const SHOWN = 10;
  const FEW = 3; // of these the reader knew what to ask for: they come first

  const query = new URLSearchParams(location.search).get("q");
  const { make, runs } = window.scalebook;
  if (!query || !runs) return;
  const root = document.documentElement.dataset.content_root;
  const { keys, titles, byName, called, wordsOf } = await window.scalebook.readIndex(
    root + runs.index,
  );
  const asked = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (let row = 0; row < keys.length; row++) {
    const words = wordsOf(row);
    if (asked.every((word) => words.includes(word))) found.push(row);
  }
  if (!found.length) return;
  // Those behind the documents first, then the newest.
  const rank = (row) =>
    (byName.standing.values[row] === "evidence" ? "1" : "0") + (byName.started.values[row] || "");
  const ranks = new Map(found.map((row) => [row, rank(row)]));
  found.sort((one, other) => (ranks.get(one) < ranks.get(other) ? 1 : -1));
  const count = `${found.length.toLocaleString("en-US")} run${found.length === 1 ? "" : "s"}`;
  const items = found.slice(0, SHOWN).map((row) =>
    make(
      "li",
      {},
      make("a", {
        href: `${root}${runs.page}?run=${encodeURIComponent(keys[row])}`,
        textContent: titles[row],
      }),
      " ",
      make("span", { className: "sb-aside", textContent: called("standing", row) }),
      make("p", { className: "context", textContent: keys[row].replace("reported.", "job ") }),
    ),
  );
  const all = make("a", {
    href: `${root}${runs.explorer}?q=${encodeURIComponent(query)}`,
    textContent: found.length > SHOWN ? `all ${count} in the list of runs` : "in the list of runs",
  });
  const part = make(
    "section",
    { id: "runs-found" },
    make("h2", { textContent: count }),
    make("ul", { className: "search" }, ...items),
    make("p", {}, all),
  );
  const results = document.getElementById("search-results");
  const [summary, sections] = results.children;
  const link = make("a", { href: "#runs-found", textContent: count });
  summary.append(sections.children.length ? "; " : " But ", link, sections.children.length ? "" : ".");
  if (found.length <= FEW) summary.after(part);
  else results.append(part);
  performance.mark("sb-runs-found");
})();
