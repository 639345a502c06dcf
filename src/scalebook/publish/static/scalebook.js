// Draws the figures of the page with the bundled plotly.js, in the colours of the theme,
// and places the notes that say where a number came from. Asks no other host for anything.
"use strict";
(() => {
  const NARROW = 560; // CSS pixels: below, legends go under the plot and titles wrap

  const COLUMN = 220; // CSS pixels a column of subplots needs …
  const FIGURE = 480; // … and a figure with its labels
  const touch = window.matchMedia("(pointer: coarse)").matches; // dragging scrolls the page there

  // An element with these properties and children.
  const make = (name, attributes = {}, ...children) => {
    const element = Object.assign(document.createElement(name), attributes);
    element.append(...children);
    return element;
  };

  // ---- figures -----------------------------------------------------------------------

  const css = (name, otherwise) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim() || otherwise;

  const merge = (into, from) => {
    for (const [key, value] of Object.entries(from)) {
      const both = value && typeof value === "object" && !Array.isArray(value);
      into[key] = both ? merge({ ...(into[key] || {}) }, value) : value;
    }
    return into;
  };

  // Axes a figure has, whether its layout or only its traces name them.
  const axes = (figure) => {
    const found = new Set(Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key)));
    for (const trace of figure.data) {
      for (const letter of ["x", "y"]) {
        const named = /^[xy](\d*)$/.exec(trace[letter + "axis"] || letter);
        if (named) found.add(`${letter}axis${named[1]}`);
      }
    }
    return found;
  };

  const wrap = (text, width) => {
    const lines = [""];
    for (const word of text.split(/(?:<br\s*\/?>|\s)+/)) {
      const last = lines[lines.length - 1];
      if (last && last.length + word.length + 1 > width) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    return lines;
  };

  // plotly.js cuts a title that is too long, and keeps the legend beside the plot on a phone.
  const fit = (layout, width) => {
    const template = (layout.template && layout.template.layout) || {};
    const own = (part, key) => (layout[part] || {})[key] ?? (template[part] || {})[key];
    const size = width < NARROW ? 15 : (own("title", "font") || {}).size || 17;
    const lines = layout.title.text ? wrap(layout.title.text, Math.floor(width / (size * 0.56))) : [];
    if (lines.length > 1) {
      layout.title.text = lines.join("<br>");
      layout.title.font.size = size;
      // plotly.js lowers a title of one line below its top, and forgets to with several.
      const pad = { ...(own("title", "pad") || {}), ...(layout.title.pad || {}) };
      layout.title.pad = { ...pad, t: (pad.t || 0) + Math.ceil(0.7 * size) };
      const top = (own("margin", "t") ?? 100) + Math.ceil(size * 1.35) * (lines.length - 1);
      layout.margin = { ...(layout.margin || {}), t: top };
    }
    if (width < NARROW && own("legend", "orientation") !== "h") {
      Object.assign(layout.legend, { orientation: "h", x: 0, y: -0.2, yanchor: "top" });
      layout.margin = { l: 8, r: 8, ...(layout.margin || {}) };
    }
  };

  // Figures need room for their labels: they scroll in their box, the page does not.
  const columns = (layout) =>
    new Set(Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key))
      .map((key) => JSON.stringify(layout[key].domain || [0, 1]))).size || 1;

  const themed = (figure, width) => {
    const text = css("--pst-color-text-base", "#222832");
    const grid = css("--pst-color-border", "#d1d5da");
    const surface = css("--pst-color-surface", "#f3f4f5");
    const layout = structuredClone(figure.layout);
    delete layout.width;
    const named = (title) => (typeof title === "string" ? { text: title } : { ...(title || {}) });
    layout.title = named(layout.title);
    merge(layout, {
      autosize: true,
      uirevision: layout.uirevision || "kept", // zoom and hidden traces outlast a change of theme
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text },
      legend: { bgcolor: "rgba(0,0,0,0)", font: { color: text } },
      hoverlabel: { bgcolor: surface, bordercolor: grid, font: { color: text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: grid, activecolor: text },
    });
    layout.title.font = { ...(layout.title.font || {}), color: text };
    for (const axis of axes(figure)) {
      const own = layout[axis] || {};
      layout[axis] = merge({ ...own, title: named(own.title) }, {
        color: text, gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true,
        tickfont: { color: text }, title: { font: { color: text } },
      });
    }
    for (const note of layout.annotations || []) {
      if (!(note.font && note.font.color)) note.font = { ...(note.font || {}), color: text };
    }
    if (touch) layout.dragmode = false;
    fit(layout, width);
    return layout;
  };

  const config = {
    displaylogo: false, showSendToCloud: false, showEditInChartStudio: false,
    // A finger has nothing to point with: there the buttons would only cover the title.
    displayModeBar: touch ? false : "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    toImageButtonOptions: { format: "svg" },
  };

  // Pixels by which letters stand out of the right edge, where plotly.js cuts them.
  const cut = (element) => {
    const edge = element.getBoundingClientRect().right;
    const ends = [...element.querySelectorAll(".main-svg text")].map((text) => {
      const box = text.getBoundingClientRect();
      return box.width ? box.right : 0; // what is not shown has no width
    });
    return Math.max(0, ...ends) - edge;
  };

  // A label as long as its letters: the figure gets the room, and its box scrolls.
  const widen = (plot, times = 8) => {
    if (typeof plot.figure === "function") return undefined; // made for its width
    const width = plot.element.clientWidth;
    const drawn = (plot.element._fullLayout || {}).width; // another, where the window still changes
    const more = width && Math.abs(drawn - width) < 2 ? cut(plot.element) : 0;
    if (more <= 1 || !times) return undefined;
    plot.element.style.minWidth = `${Math.ceil(width + more + 4)}px`;
    plot.width = plot.element.clientWidth;
    return Plotly.Plots.resize(plot.element).then(() => widen(plot, times - 1));
  };

  const draw = (plot) => {
    plot.width = plot.element.clientWidth;
    const figure = typeof plot.figure === "function" ? plot.figure(plot.width) : plot.figure;
    const needed = (figure.layout.meta || {}).min_width ??
      Math.max(FIGURE, COLUMN * columns(figure.layout));
    plot.element.style.minWidth = `${needed}px`;
    plot.width = plot.element.clientWidth;
    const layout = themed(figure, plot.width);
    return Plotly.react(plot.element, figure.data, layout, config).then(() => {
      // The label says what the figure shows; its letters one by one would say nothing.
      for (const svg of plot.element.querySelectorAll(".main-svg")) svg.ariaHidden = "true";
      return widen(plot);
    }).then(() => {
      const box = plot.element.parentElement;
      box.classList.toggle("sb-swiped", box.scrollWidth > box.clientWidth + 1);
    });
  };

  const drawn = new Map(); // figures of the page by their element

  const follow = new ResizeObserver(() => {
    for (const plot of drawn.values()) {
      const width = plot.element.clientWidth;
      if (width && width < NARROW !== plot.width < NARROW) draw(plot);
      else if (width && width !== plot.width) {
        plot.width = width;
        Plotly.Plots.resize(plot.element).then(() => widen(plot));
      }
    }
  });
  new MutationObserver(() => drawn.forEach(draw)).observe(document.documentElement, {
    attributes: true, attributeFilter: ["data-theme"],
  });

  // Draws a figure into its element, or another in its place; a function is asked for it by width.
  const drawIn = (element, figure) => {
    const plot = { element, figure, width: 0 };
    try {
      const done = draw(plot);
      drawn.set(element, plot);
      follow.observe(element);
      return done;
    } catch (error) {
      const textContent = `This figure could not be drawn: ${error.message}`;
      element.replaceChildren(make("p", { className: "sb-failed", textContent }));
      console.error(error);
      return undefined;
    }
  };

  // ---- the data of a figure ------------------------------------------------------------

  const plain = (markup) =>
    new DOMParser().parseFromString(String(markup ?? "").replace(/<br\s*\/?>/g, " "), "text/html")
      .body.textContent.trim();

  // One row a point of what is drawn, as plotly.js has decoded it.
  const dataOf = (plot) => {
    const full = plot.element._fullLayout;
    const axis = (name) => full[name.replace(/^([xy])(\d*)$/, "$1axis$2")] || {};
    const titles = { x: new Set(), y: new Set() };
    const heads = (full.annotations || []).filter((one) => / domain$/.test(one.yref) && one.y === 1);
    const rows = [];
    for (const trace of plot.element._fullData) {
      if (trace.hoverinfo === "skip" || trace.visible === false || !trace.x || !trace.y) continue;
      const own = { x: axis(trace.xaxis || "x"), y: axis(trace.yaxis || "y") };
      const head = heads.find((one) => one.yref === `${trace.yaxis || "y"} domain`);
      const named = (letter, value) => {
        const at = (own[letter].tickvals || []).indexOf(value);
        if (at >= 0 && own[letter].ticktext) return plain(own[letter].ticktext[at]);
        return typeof value === "number" ? value : plain(value);
      };
      for (const letter of ["x", "y"]) {
        const said = plain((own[letter].title || {}).text);
        titles[letter].add(/^Click to enter/.test(said) ? "" : said); // plotly.js, of no title
      }
      const flat = trace.error_x && trace.error_x.visible;
      const spread = flat ? trace.error_x : trace.error_y;
      const length = Math.max(trace.x.length, trace.y.length);
      for (let point = 0; point < length; point += 1) {
        const middle = (flat ? trace.x : trace.y)[point];
        const ends = spread && spread.visible && spread.array
          ? [middle - (spread.arrayminus || spread.array)[point], middle + spread.array[point]] : ["", ""];
        const about = typeof (trace.customdata || [])[point] === "string" ? trace.customdata[point] : "";
        const from = Array.isArray(trace.base) || ArrayBuffer.isView(trace.base) ? trace.base[point] : "";
        rows.push([head ? plain(head.text) : "", plain(trace.name), plain(about), from,
          named("x", trace.x[point]), named("y", trace.y[point]), ...ends]);
      }
    }
    const title = (letter) => {
      const [one, ...more] = [...titles[letter]].filter(Boolean);
      if (one && !more.length) return one;
      const at = letter === "x" ? 4 : 5;
      return rows.every((row) => typeof row[at] === "number") ? "value" : "of";
    };
    const names = ["plot", "series", "note", "from", title("x"), title("y"), "low", "high"];
    if (rows.some((row) => row[3] !== "")) names[4] = "length"; // of a bar that begins there
    const kept = names.map((_, at) => rows.some((row) => row[at] !== ""));
    const keep = (row) => row.filter((_, at) => kept[at]);
    return [keep(names), ...rows.map(keep)];
  };

  // Zoomed into, a bar of a timeline that became long enough shows its name.
  const nameBars = (plot) => {
    const { element } = plot;
    const bars = () => element._fullData.filter((trace) => trace.type === "bar" && trace.base &&
      typeof (trace.customdata || [])[0] === "string");
    if (!bars().length || element._fullLayout.barmode !== "overlay") return;
    element.on("plotly_relayout", (event) => {
      if (!Object.keys(event).some((key) => key.startsWith("xaxis."))) return;
      const mine = bars(); // others, where another step was chosen
      const axis = element._fullLayout.xaxis;
      const pixels = axis._length / (axis.range[1] - axis.range[0]);
      const texts = mine.map((trace) => Array.from(trace.x, (length, at) => {
        const name = trace.customdata[at].split("<br>")[0].replace(/<\/?b>/g, "");
        return plain(name).length * 6.5 + 6 < length * pixels ? name : "";
      }));
      const inside = { textposition: "inside", insidetextanchor: "start", constraintext: "none",
        textangle: 0, "textfont.size": 10 };
      Plotly.restyle(element, { text: texts, ...inside }, mine.map((trace) => trace.index));
    });
  };

  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  const SHOWN = 500; // rows of a table; the file has all

  const offerData = (plot) => {
    const figure = plot.element.closest("figure") || plot.element.closest(".sb-plot-box").parentElement;
    const fold = make("details", { className: "sb-data" });
    fold.innerHTML = '<summary>Data</summary><button type="button" class="sb-csv">CSV</button>' +
      '<div class="sb-cards" tabindex="0" role="region" aria-label="Data of the figure"></div>';
    fold.addEventListener("toggle", () => {
      const [names, ...rows] = dataOf(plot);
      const table = make("table");
      const search = make("input", {
        type: "search", placeholder: "Filter", ariaLabel: "Filter the rows",
      });
      let order = null; // column, 1 or -1
      const fill = () => {
        const asked = search.value.toLowerCase();
        const kept = rows.filter((row) => row.join(" ").toLowerCase().includes(asked));
        if (order) {
          const [at, way] = order;
          kept.sort((one, other) => way * (typeof one[at] === "number" && typeof other[at] === "number"
            ? one[at] - other[at] : String(one[at]).localeCompare(other[at])));
        }
        const body = make("tbody");
        for (const cells of kept.slice(0, SHOWN)) {
          const row = body.insertRow();
          cells.forEach((cell, at) => {
            const one = row.insertCell();
            one.textContent = typeof cell === "number" ? Number(cell.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 }) : cell;
            one.dataset.label = names[at];
          });
        }
        if (table.tBodies.length) table.tBodies[0].remove();
        table.append(body);
      };
      const head = table.createTHead().insertRow();
      names.forEach((name, at) => {
        const button = make("button", { type: "button", className: "sb-sort", textContent: name });
        const cell = make("th", { scope: "col" }, button);
        button.addEventListener("click", () => {
          order = [at, order && order[0] === at ? -order[1] : 1];
          for (const other of head.cells) other.removeAttribute("aria-sort");
          cell.ariaSort = order[1] > 0 ? "ascending" : "descending";
          fill();
        });
        head.append(cell);
      });
      search.addEventListener("input", fill);
      fill();
      fold.lastElementChild.replaceChildren(...(rows.length > 12 ? [search] : []), table);
    });
    fold.querySelector("button").addEventListener("click", () => {
      const text = dataOf(plot).map((row) => row.map(quoted).join(",")).join("\n");
      const href = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
      make("a", { href, download: `${figure.id || plot.element.id}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 1000);
    });
    (figure.querySelector("figcaption") || figure).append(fold);
  };

  // ---- another step, rank or trace in a timeline's place -------------------------------

  const duration = (us) => {
    const digits = us >= 1e5 ? 0 : us >= 1e4 ? 1 : 2;
    return us < 1000 ? `${Number(us.toPrecision(4))} µs` : `${(us / 1000).toFixed(digits)} ms`;
  };

  // Bars as `figures/profile/choices.py` packs them: begins and lengths in tenths of a µs.
  const unpacked = ({ packed: [begins, lengths, rows, named], ...bar }, texts) => {
    let begin = 0;
    return { ...bar, y: rows, x: lengths.map((length) => length / 1e4),
      base: begins.map((later) => (begin += later) / 1e4),
      customdata: named.map((at, n) => `${texts[at]}<br>${duration(lengths[n] / 10)}`) };
  };

  const offerChoices = (element, first, { names, texts, each }) => {
    const figure = element.closest("figure") || element.parentElement.parentElement;
    const selects = names.map(() => make("select"));
    const labels = names.map((name, at) => make("label", {}, `${name} `, selects[at]));
    const about = { className: "sb-filter sb-choices", role: "group", ariaLabel: "What is shown" };
    const box = make("div", about, ...labels);
    let now = each.find((one) => !one.data); // which the page draws itself
    const fill = () => {
      let among = each; // each list holds what goes with those before it
      selects.forEach((select, at) => {
        const values = [...new Set(among.map((one) => one.names[at]))];
        if (values.join("\n") !== Array.from(select.options, (one) => one.value).join("\n")) {
          select.replaceChildren(...values.map((value) => new Option(value, value)));
        }
        select.value = now.names[at];
        select.parentElement.hidden = values.length < 2;
        among = among.filter((one) => one.names[at] === now.names[at]);
      });
    };
    const choose = (at) => {
      let among = each;
      selects.forEach((select, n) => {
        const same = among.filter((one) => one.names[n] === select.value);
        if (n <= at || same.length) among = same;
      });
      now = among.find((one) => one.middle) || among[0];
      fill();
      const layout = { ...first.layout, ...now.layout, uirevision: now.names.join() };
      const data = now.data
        ? now.data.map((bar) => unpacked(bar, texts)) : first.data.map((bar) => ({ ...bar }));
      const { alt, caption, message } = layout.meta;
      element.setAttribute("aria-label", alt);
      for (const name of ["--sb-height", "--sb-narrow"]) {
        element.style.setProperty(name, `${layout.height}px`);
      }
      for (const list of figure.querySelectorAll("figcaption details > ul")) list.remove();
      const [said, more] = [".caption-text", "figcaption details:not(.sb-data) p"].map((place) =>
        figure.querySelector(place));
      if (said) said.textContent = message;
      if (more) more.textContent = caption.slice(message.length).trim();
      const done = drawIn(element, { data, layout });
      const table = figure.querySelector(".sb-data[open]");
      if (done && table) done.then(() => table.dispatchEvent(new Event("toggle")));
    };
    selects.forEach((select, at) => {
      select.setAttribute("aria-controls", element.id);
      select.addEventListener("change", () => choose(at));
    });
    fill();
    element.parentElement.before(box);
  };

  const plots = () => {
    for (const script of document.querySelectorAll("script.sb-plot-data")) {
      const element = document.getElementById(script.dataset.for);
      const { narrow, choices, ...wide } = JSON.parse(script.textContent);
      if (choices) offerChoices(element, wide, choices);
      const done = drawIn(element, narrow ? (width) => (width < NARROW ? narrow : wide) : wide);
      if (done) done.then(() => {
        offerData({ element });
        nameBars({ element });
      });
    }
  };

  // Who chose a section in the drawer of a phone wants to read it.
  document.addEventListener("click", ({ target }) => {
    const drawer = target.closest("dialog[open] a[href]")?.closest("dialog");
    if (drawer) drawer.close();
  });

  // ---- notes beside numbers ----------------------------------------------------------

  const NUMBER = ".sb-value, .sb-mathnumber"; // in text with the note inside, in formulas behind
  const KEPT = ".sb-focused, :hover, :focus-within";

  const noteOf = (number) =>
    number.querySelector(".sb-note") ||
    document.getElementById(number.getAttribute("aria-describedby"));

  const place = (number) => {
    const note = noteOf(number);
    const at = number.getBoundingClientRect();
    const box = note.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - box.width - 8));
    const above = at.top - box.height - 8;
    note.style.left = `${left}px`;
    note.style.top = `${above > 8 ? above : at.bottom + 8}px`;
    note.style.bottom = "auto";
  };

  const isPinned = (note) => Boolean(note.showPopover) && note.matches(":popover-open");

  const shownNow = () =>
    [...document.querySelectorAll(NUMBER)].filter((number) =>
      number.matches(KEPT) || isPinned(noteOf(number)));

  const open = (number) => {
    number.classList.remove("sb-dismissed");
    noteOf(number).classList.add("sb-open");
    place(number);
  };

  const close = (number, dismissed = true) => {
    noteOf(number).classList.remove("sb-open");
    number.classList.toggle("sb-dismissed", dismissed);
  };

  // A note shows beside the number that is pointed at or focused. A click pins it, as does Enter: it
  // then is a popover, which a click elsewhere closes.
  const offerNote = (number) => {
    const note = noteOf(number);
    const inMath = number.matches(".sb-mathnumber");
    const reached = inMath ? note.previousElementSibling : number.querySelector(".sb-number");
    number.addEventListener("mouseenter", () => open(number));
    reached.addEventListener("focus", () => {
      number.classList.toggle("sb-focused", inMath);
      open(number);
    });
    // Pointing at the note itself keeps it; in a formula the note is not inside the number.
    number.addEventListener("mouseleave", () => {
      const leave = () => {
        const kept = number.matches(KEPT) || note.matches(":hover") || isPinned(note);
        if (!kept) close(number, false);
      };
      setTimeout(leave, inMath ? 300 : 0);
    });
    if (inMath) note.addEventListener("mouseleave", () => isPinned(note) || close(number, false));
    for (const one of [reached, note]) {
      one.addEventListener("focusout", ({ relatedTarget: to }) => {
        if (to === reached || note.contains(to)) return;
        number.classList.remove("sb-focused");
        if (to && isPinned(note)) note.hidePopover();
        if (!number.matches(":hover") && !isPinned(note)) close(number, false);
      });
    }
    if (!note.showPopover) return; // an old browser follows the link
    reached.setAttribute("role", "button");
    reached.setAttribute("aria-expanded", "false");
    reached.setAttribute("aria-controls", note.id);
    note.addEventListener("beforetoggle", ({ newState }) => {
      reached.setAttribute("aria-expanded", String(newState === "open"));
      for (const link of note.querySelectorAll("a")) link.tabIndex = newState === "open" ? 0 : -1;
      if (newState === "closed") close(number);
    });
    let wasPinned = false; // when the pointer went down, which closes a popover
    const press = () => {
      wasPinned = isPinned(note);
    };
    const click = (event) => {
      if (note.contains(event.target) || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (isPinned(note)) note.hidePopover();
      else if (!event.detail || !wasPinned) {
        note.showPopover();
        open(number);
      }
    };
    for (const one of inMath ? [number, reached] : [number]) {
      one.addEventListener("pointerdown", press, true);
      one.addEventListener("click", click);
    }
    reached.addEventListener("keydown", (event) => {
      if (event.key !== " " && (event.key !== "Enter" || reached.href)) return;
      event.preventDefault();
      reached.click();
    });
  };

  const values = () => {
    document.querySelectorAll(NUMBER).forEach(offerNote);
    document.addEventListener("scroll", () => shownNow().forEach(place), {
      capture: true, passive: true, // tables scroll too
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const number of shownNow()) {
        if (isPinned(noteOf(number))) noteOf(number).hidePopover();
        else close(number);
      }
    });
  };

  // ---- the page of origins -----------------------------------------------------------

  // Search and choice of kind, made here: without JavaScript the whole table is shown.
  const ledger = () => {
    const table = document.querySelector("table.sb-ledger");
    if (!table) return;
    const rows = [...table.tBodies[0].rows];
    const kinds = [...new Set(rows.map((row) => row.dataset.kind))];
    const form = make("form", { className: "sb-filter", role: "search" });
    form.innerHTML =
      '<label>Search <input type="search" autocomplete="off"></label> ' +
      '<label>Kind <select><option value="">all</option></select></label> ' +
      '<output aria-live="polite"></output>';
    const [search, select] = form.elements;
    for (const kind of kinds) select.append(new Option(kind, kind));
    const words = rows.map((row) => row.textContent.toLowerCase());
    const filter = () => {
      const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, index) => {
        const kept = (!select.value || row.dataset.kind === select.value) &&
          asked.every((word) => words[index].includes(word));
        row.hidden = !kept;
        count += kept;
      });
      form.querySelector("output").textContent = `${count} of ${rows.length} shown`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    // A link to a number that is filtered out shows all of them again.
    window.addEventListener("hashchange", () => {
      const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (row && row.hidden) {
        form.reset();
        filter();
        row.scrollIntoView();
      }
    });
    table.parentElement.before(form);
    filter();
  };

  // ---- traces ------------------------------------------------------------------------

  // How long a viewer may take to load before the reader is told.
  const PATIENCE = 20000;
  const SILENT =
    "Perfetto does not answer: it needs a connection to the Internet. Download the trace and open " +
    "it there later.";
  const UNREADABLE =
    "The trace cannot be read from here: download it and drag it into Perfetto's window.";

  // Hands a trace to Perfetto's window, inside the reader's browser and only when asked.
  const show = async (link, opened, tell) => {
    const origin = new URL(link.href).origin;
    const answer = await fetch(link.dataset.perfetto);
    if (!answer.ok) throw new Error(answer.statusText);
    const buffer = await answer.arrayBuffer();
    const fileName = link.dataset.name;
    // A window that still loads hears nothing: it is asked until it answers.
    const since = Date.now();
    const asking = setInterval(() => {
      if (opened.closed) clearInterval(asking);
      else opened.postMessage("PING", origin);
      if (Date.now() - since > PATIENCE) tell(SILENT);
    }, 100);
    const hand = (event) => {
      if (event.source !== opened || event.origin !== origin || event.data !== "PONG") return;
      clearInterval(asking);
      tell("");
      window.removeEventListener("message", hand);
      opened.postMessage({ perfetto: { buffer, title: fileName, fileName } }, origin);
    };
    window.addEventListener("message", hand);
  };

  const traces = () => {
    for (const link of document.querySelectorAll("a[data-perfetto]")) {
      link.addEventListener("click", (event) => {
        const opened = window.open(link.href);
        if (!opened) return; // the link itself then opens the viewer
        event.preventDefault();
        const status = link.parentElement.querySelector(".sb-perfetto");
        const tell = (said) => {
          if (status.textContent !== said) status.textContent = said;
        };
        show(link, opened, tell).catch(() => tell(UNREADABLE));
      });
    }
  };

  window.scalebook = { drawIn, make, NARROW }; // for other scripts

  // On a phone each row of a table is a card, whose lines say their column.
  const cards = () => {
    for (const table of document.querySelectorAll(".bd-article table")) {
      const heads = [...(table.tHead?.rows || [])].at(-1)?.cells || []; // a script may fill it later
      if (heads.length < 2 || table.closest(".sb-cards")) continue;
      table.parentElement.classList.add("sb-carded");
      for (const row of [...table.tBodies].flatMap((body) => [...body.rows])) {
        if (row.cells.length !== heads.length) continue;
        [...row.cells].forEach((cell, at) => {
          cell.dataset.label = heads[at].textContent.trim();
          cell.classList.toggle("sb-nothing", ["", "–"].includes(cell.textContent.trim()));
        });
      }
    }
  };

  // A title breaks between words, not within ResNet-18.
  const names = () => {
    const titles = "h1, h2, h3, .navbar-brand, .prev-next-title, .toctree-l1 > a";
    for (const title of document.querySelectorAll(titles)) {
      const walker = document.createTreeWalker(title, NodeFilter.SHOW_TEXT);
      const texts = [];
      while (walker.nextNode()) texts.push(walker.currentNode);
      for (const text of texts) {
        const parts = text.data.split(/\b([A-Za-z]+-\d+)\b/);
        if (parts.length < 2) continue;
        text.replaceWith(...parts.map((part, at) =>
          at % 2 ? make("span", { className: "sb-name", textContent: part }) : part));
      }
    }
  };

  const start = () => {
    // What the theme names by other words than it shows cannot be called by what one sees.
    const named = document.querySelectorAll(".search-button-field, details.hide > summary");
    for (const one of named) one.removeAttribute("aria-label");
    for (const icon of document.querySelectorAll(".theme-switch")) icon.removeAttribute("title");
    // A drawing that scrolls on a phone does so by the keyboard, too.
    for (const { parentElement: box } of document.querySelectorAll('figure > img[src$=".svg"]')) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    }
    names();
    cards();
    values();
    ledger();
    traces();
    plots();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
