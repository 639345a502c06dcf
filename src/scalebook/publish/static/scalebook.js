// Draws the figures of the page with the bundled plotly.js, in the colours of the theme,
// and places the notes that say where a number came from. Asks no other host for anything.
"use strict";
(() => {
  const NARROW = 560; // CSS pixels: below, legends go under the plot and titles wrap

  const COLUMN = 220; // CSS pixels a column of subplots needs …
  const FIGURE = 480; // … and a figure with its labels
  const touch = window.matchMedia("(pointer: coarse)").matches; // dragging scrolls the page there

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
      uirevision: "kept", // zoom and hidden traces outlast a change of theme
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
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    toImageButtonOptions: { format: "svg" },
  };

  const draw = (plot) => {
    plot.width = plot.element.clientWidth;
    const layout = themed(plot.figure, plot.width);
    return Plotly.react(plot.element, plot.figure.data, layout, config);
  };

  const plots = () => {
    const found = [];
    for (const script of document.querySelectorAll("script.sb-plot-data")) {
      const element = document.getElementById(script.dataset.for);
      try {
        const plot = { element, figure: JSON.parse(script.textContent), width: 0 };
        const needed = Math.max(FIGURE, COLUMN * columns(plot.figure.layout));
        element.style.minWidth = `${needed}px`;
        draw(plot);
        found.push(plot);
      } catch (error) {
        const message = document.createElement("p");
        message.className = "sb-failed";
        message.textContent = `This figure could not be drawn: ${error.message}`;
        element.replaceChildren(message);
        console.error(error);
      }
    }
    if (!found.length) return;
    new MutationObserver(() => found.forEach(draw)).observe(document.documentElement, {
      attributes: true, attributeFilter: ["data-theme"],
    });
    const observer = new ResizeObserver(() => {
      for (const plot of found) {
        const width = plot.element.clientWidth;
        if (width && width < NARROW !== plot.width < NARROW) draw(plot);
        else if (width && width !== plot.width) {
          plot.width = width;
          Plotly.Plots.resize(plot.element);
        }
      }
    });
    found.forEach((plot) => observer.observe(plot.element));
  };

  // ---- notes beside numbers ----------------------------------------------------------

  const place = (value) => {
    const note = value.querySelector(".sb-note");
    const at = value.getBoundingClientRect();
    const box = note.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - box.width - 8));
    const above = at.top - box.height - 8;
    note.style.left = `${left}px`;
    note.style.top = `${above > 8 ? above : at.bottom + 8}px`;
    note.style.bottom = "auto";
  };

  const values = () => {
    for (const value of document.querySelectorAll(".sb-value")) {
      for (const event of ["mouseenter", "focus"]) {
        value.addEventListener(event, () => {
          value.classList.remove("sb-dismissed");
          place(value);
        });
      }
    }
    const shown = ".sb-value:hover, .sb-value:focus";
    document.addEventListener("scroll", () => document.querySelectorAll(shown).forEach(place), {
      capture: true, passive: true, // tables scroll too
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const value of document.querySelectorAll(shown)) {
        value.classList.add("sb-dismissed");
      }
    });
  };

  // ---- traces ------------------------------------------------------------------------

  // Hands a trace to Perfetto's window, inside the reader's browser and only when asked.
  const show = async (link, opened) => {
    const origin = new URL(link.href).origin;
    const answer = await fetch(link.dataset.perfetto);
    if (!answer.ok) throw new Error(answer.statusText);
    const buffer = await answer.arrayBuffer();
    const fileName = link.dataset.name;
    // A window that still loads hears nothing: it is asked until it answers.
    const asking = setInterval(() => {
      if (opened.closed) clearInterval(asking);
      else opened.postMessage("PING", origin);
    }, 100);
    const hand = (event) => {
      if (event.source !== opened || event.origin !== origin || event.data !== "PONG") return;
      clearInterval(asking);
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
        show(link, opened).catch(() => {
          link.parentElement.querySelector(".sb-perfetto").textContent =
            "The trace cannot be read from here: download it and drag it into Perfetto's window.";
        });
      });
    }
  };

  const start = () => {
    values();
    traces();
    plots();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
