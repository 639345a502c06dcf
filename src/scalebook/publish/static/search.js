// The search page: sections of the book by their words, in any spelling and hyphenation, with the
// text around them. What it reads is a script beside the book, which loads from a disk as well.
"use strict";
(() => {
  const { make } = window.scalebook;
  const WORD = /[\p{L}\p{N}]+/gu;
  const JOINT = /^[-\u2010\u2011_\u00a0\u00ad ]$/; // between the parts of a compound
  const SHOWN = 240; // letters of a section …
  const BEFORE = 60; // … and of them before the first word found
  const SHORTEST = 4; // letters that a word keeps without its ending
  const COMMON = new Set(
    "a an and are as at be by for from in is it of on or that the to with".split(" "),
  );

  // ---- words ---------------------------------------------------------------------------

  // British and American spelling are one.
  const key = (word) =>
    word.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "")
      .replace(/([iy])s(e[dsr]?|ing|ers|ations?)$/, "$1z$2")
      .replace(/(...)our/, "$1or")
      .replace(/ll(ed|ing|er|ers)$/, "l$1");

  // What the forms of a word have in common.
  const ENDING = new RegExp(`^(.{${SHORTEST},}?)(?:ations?|ing|ed|es|e|s)$`);

  const words = (text) =>
    [...text.matchAll(WORD)].map(({ 0: word, index }) => {
      const own = key(word);
      return { key: own, stem: own.replace(ENDING, "$1"), at: index, end: index + word.length };
    });

  // Text with its words, each with what it makes with the next one, as "warm-up" is "warmup".
  const read = (text) => {
    const there = words(text);
    const compounds = there.slice(1).map((next, at) =>
      JOINT.test(text.slice(there[at].end, next.at)) ? there[at].key + next.key : "");
    return { text, words: there, compounds };
  };

  // A word of the query, and the compounds that it is a part of there.
  const question = (query) => {
    const all = words(query);
    const rare = all.filter((word) => !COMMON.has(word.key));
    const asked = rare.length ? rare : all;
    const pairs = asked.slice(1).map((second, at) => asked[at].key + second.stem);
    return asked.map((word, at) => ({ ...word, pairs: [pairs[at - 1], pairs[at]].filter(Boolean) }));
  };

  const nearness = (word, asked) => {
    if (word.key === asked.key) return 3;
    if (word.stem === asked.stem) return 2;
    return [asked.stem, ...asked.pairs].some((one) => word.key.startsWith(one)) ? 1 : 0;
  };

  // Where a text has a word that is asked for.
  const places = ({ words: there, compounds }, asked) =>
    there.flatMap((word, at) => {
      const near = nearness(word, asked);
      if (near) return [{ at: word.at, end: word.end, near }];
      const both = asked.stem.length > word.key.length && compounds[at]?.startsWith(asked.stem);
      return both ? [{ at: word.at, end: there[at + 1].end, near: 2 }] : [];
    });

  // Where it has one that the asked word only begins with.
  const beginnings = ({ words: there }, asked) =>
    there
      .filter((word) => word.key.length >= SHORTEST && asked.stem.startsWith(word.key))
      .map(({ at, end }) => ({ at, end, near: 1 }));

  // ---- sections ------------------------------------------------------------------------

  const book = window.scalebook.sections.map(([page, sections]) =>
    sections.map(([anchor, title, text]) => ({
      address: anchor ? `${page}#${anchor}` : page,
      page: sections[0][1],
      title: read(title),
      text: read(text),
    })));

  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

  const adjacent = (first, second) =>
    first.some((one) => second.some((other) => other.at - one.end === 1));

  // How close and frequent the words are, side by side above all.
  const worth = (found, { words: { length } }) => {
    const near = found.map((one) => Math.max(0, ...one.map((place) => place.near)));
    const often = found.map((one) => Math.log2(1 + (100 * one.length) / (length || 1)) / 2);
    const pairs = found.slice(1).filter((one, at) => adjacent(found[at], one));
    return sum(near) + sum(often) + 6 * pairs.length;
  };

  // A title weighs more, the more of the words it has.
  const titleWorth = (found, title) =>
    worth(found, title) * 3 * (found.filter((one) => one.length).length / found.length) ** 2;

  // Figures that have the asked number are equal: they come in the order of the book.
  const numbered = (found, title, asked) =>
    /^Figure \d+ of /.test(title.text) && asked.some(({ key }, at) => /^\d+$/.test(key) &&
      found[at].some(({ at: place }) => place === "Figure ".length));

  const find = (query) => {
    const asked = question(query);
    if (!asked.length) return [];
    const pages = book.map((sections) =>
      sections.map((section) => ({
        section,
        title: asked.map((word) => places(section.title, word)),
        text: asked.map((word) => places(section.text, word)),
      })));
    const all = pages.flat();
    const has = ({ title, text }, at) => title[at].length + text[at].length > 0;
    asked.forEach((word, at) => {
      const nowhere = !all.some((one) => has(one, at));
      for (const one of all.filter((one) => !has(one, at))) {
        for (const part of ["title", "text"]) {
          // "batch norm" is a batch normalisation; alone a beginning may be any word.
          const [before, after] = [one[part][at - 1], one[part][at + 1]];
          one[part][at] = beginnings(one.section[part], word).filter((place) =>
            nowhere || adjacent(before || [], [place]) || adjacent([place], after || []));
        }
      }
    });
    for (const one of all) {
      const { title, text } = one.section;
      one.worth = numbered(one.title, title, asked)
        ? Infinity : titleWorth(one.title, title) + worth(one.text, text);
    }
    const first = (found) => found.sort((one, other) => (other.worth > one.worth) - (other.worth < one.worth));
    const whole = all.filter((one) => asked.every((_, at) => has(one, at)));
    if (whole.length) return first(whole);
    // Words that no section has together may stand on one page.
    const spread = pages.filter((mine) => asked.every((_, at) => mine.some((one) => has(one, at))));
    return first(spread.map((mine) => first([...mine])[0]));
  };

  // ---- what the reader sees --------------------------------------------------------------

  // The part of a text with most of the words, these marked.
  const excerpt = (text, found) => {
    const marks = found
      .flatMap((one, word) => one.map((place) => ({ ...place, word })))
      .sort((one, other) => one.at - other.at);
    const ahead = ({ at }) =>
      new Set(marks.filter((one) => one.at >= at && one.end <= at + SHOWN - BEFORE)
        .map(({ word }) => word)).size;
    const best = marks.reduce((best, one) => (ahead(one) > ahead(best) ? one : best), marks[0]);
    const { at: from, end: to } = best || { at: 0, end: 0 };
    const start = from > BEFORE ? Math.min(from, text.indexOf(" ", from - BEFORE) + 1 || from) : 0;
    const cut = start + SHOWN < text.length;
    const end = cut ? Math.max(to, text.lastIndexOf(" ", start + SHOWN)) : text.length;
    const context = make("p", { className: "context" }, start ? "… " : "");
    let at = start;
    for (const mark of marks) {
      if (mark.at < at || mark.end > end) continue;
      const shown = text.slice(mark.at, mark.end);
      context.append(text.slice(at, mark.at), make("mark", { textContent: shown }));
      at = mark.end;
    }
    context.append(text.slice(at, end), cut ? " …" : "");
    return context;
  };

  const item = ({ section: { address, page, title, text }, text: found }) => {
    const root = document.documentElement.dataset.content_root;
    const link = make("a", { href: root + address, textContent: title.text || page });
    link.addEventListener("click", () => {
      // Sphinx marks these on the page.
      const shown = found.flat().map(({ at, end }) => text.text.slice(at, end).toLowerCase());
      localStorage.setItem("sphinx_highlight_terms", [...new Set(shown)].join(" "));
    });
    const of = make("span", { className: "sb-aside", textContent: page });
    return make("li", {}, link, ...(title.text === page ? [] : [" ", of]),
      ...(text.text ? [excerpt(text.text, found)] : []));
  };

  const query = new URLSearchParams(location.search).get("q");
  if (!query) return;
  for (const field of document.querySelectorAll("input[name=q]")) field.value = query;
  const found = find(query);
  const message = found.length
    ? `${found.length} section${found.length === 1 ? "" : "s"} of the book`
    : "No page has all of these words.";
  document.getElementById("search-results").append(
    make("p", { className: "search-summary", role: "status", textContent: message }),
    make("ul", { className: "search" }, ...found.map(item)),
  );
})();
