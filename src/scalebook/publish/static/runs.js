// The explorer over all runs and the page of one. What they show comes from scripts beside the book,
// which load from a disk as well.
"use strict";
(() => {
  const page = document.querySelector(".sb-runs-page");
  const LOOK = JSON.parse(document.getElementById("sb-look").textContent);
  const { NARROW, make, script, text, isNumber, short, jobOf } = window.scalebook;
  const MOST_DRAWN = 12,
    MOST_COMPARED = 6; // of the chosen runs
  const ROWS = matchMedia("(max-width: 40rem)").matches ? 10 : 25; // of the table at a time
  // Columns with a list of their own.
  const FACETS = ["standing", "experiment", "system", "dataset", "epochs_done", "status"];
  const SHOWN = [
    "standing",
    "experiment",
    "system",
    "world_size",
    "precision",
    "seed",
    "epochs_done",
    "throughput",
    "final_val_acc",
    "started",
  ];

  const find = (selector) => page.querySelector(selector);
  const say = (text) => {
    find(".sb-message").textContent = text;
  };
  const cycled = (values, order) => values[order % values.length];

  // ---- loading -------------------------------------------------------------------------

  // The name of the file is encoded once, its address once more.
  const runData = (key) =>
    script(`${page.dataset.data}/${encodeURIComponent(encodeURIComponent(key))}.js`);
  const plotly = () => (window.Plotly ? Promise.resolve() : script(page.dataset.plotly));
  const runAddress = (key) => `${page.dataset.page}?run=${encodeURIComponent(key)}`;

  // ---- figures -------------------------------------------------------------------------

  const PANELS = [
    ["loss", "train_loss", "val_loss"],
    ["accuracy (%)", "train_acc", "val_acc"],
    ["images/s", null, "throughput"],
  ];

  // Logarithmic where the largest would flatten the others, as `theme.loss_axis` has it.
  const lossAxis = (values) => {
    const known = values.filter(Number.isFinite).sort((a, b) => a - b);
    const middle = known[Math.floor((known.length - 1) / 2)];
    const flattens = known[0] > 0 && known.at(-1) > LOOK.flattening * middle;
    return flattens ? LOOK.logarithmic : {};
  };

  const LINE = 24; // pixels of a line of a legend

  // Plots beside each other, one below another on a phone.
  const panels = (element, width, titles, traces, across = "epoch") => {
    const narrow = width < NARROW,
      count = titles.length;
    const gap = narrow ? 0.35 : 0.15; // of a plot
    const part = 1 / (count + gap * (count - 1));
    const span = (at) =>
      [at * (1 + gap) * part, (at * (1 + gap) + 1) * part].map((end) => Math.min(1, end));
    // Lines of the legend, whose letters take about 7 pixels each.
    const named = traces.filter(({ showlegend }) => showlegend).map(({ name }) => name.split("<br>"));
    const wide = Math.max(...named.flat().map((part) => 7 * part.length + 50));
    const rows = Math.ceil(named.length / Math.max(1, Math.floor(width / wide)));
    const lines = rows * Math.max(...named.map((parts) => parts.length));
    const longest = Math.max(0, ...traces.map(({ x }) => x.length));
    const drawn = (axis) => traces.filter(({ yaxis }) => yaxis === axis).flatMap(({ y }) => y);
    const layout = {
      template: LOOK.template,
      annotations: [],
      height: (narrow ? 210 * count + 60 : 320) + LINE * lines,
      margin: { t: 36, b: 60 + LINE * lines, l: 8, r: 16 },
      meta: { min_width: 240 },
      legend: { orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom" },
    };
    titles.forEach((title, number) => {
      const end = number ? number + 1 : "";
      const x = narrow ? [0, 1] : span(number),
        y = narrow ? span(count - 1 - number) : [0, 1];
      layout[`xaxis${end}`] = {
        domain: x,
        anchor: `y${end}`,
        dtick: longest <= 12 ? 1 : undefined,
        title: { text: narrow && number < count - 1 ? "" : across },
      };
      layout[`yaxis${end}`] = {
        domain: y,
        anchor: `x${end}`,
        rangemode: title === "images/s" ? "tozero" : "normal",
        ...(title === "loss" ? lossAxis(drawn(`y${end}`)) : {}),
      };
      layout.annotations.push({
        text: `<b>${title}</b>`,
        showarrow: false,
        xref: "paper",
        yref: "paper",
        x: x[0],
        y: y[1],
        xanchor: "left",
        yanchor: "bottom",
        yshift: 6,
      });
    });
    element.style.height = `${layout.height}px`;
    return { data: traces, layout };
  };

  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

  // Curves of one run, or of several over each other: then what was validated alone. Of runs of a
  // single epoch the points would lie on each other: they stand side by side.
  const curves = (element, runs) => (width) => {
    const names = namesOf(runs.map(({ key }) => key));
    const points = runs.every(({ epochs }) => (epochs.epoch || []).length === 1);
    const beside = points && runs.length > 1;
    const there = PANELS.filter(([, train, val]) =>
      runs.some((run) => run.epochs[val] || run.epochs[train]),
    );
    const traces = [],
      named = new Set();
    there.forEach(([, train, val], number) =>
      runs.forEach((run, order) => {
        const end = number ? number + 1 : "";
        const alone = runs.length === 1;
        for (const column of alone ? [train, val] : [val]) {
          if (!column || !run.epochs[column]) continue;
          const what = column === "throughput" ? 2 : column === train ? 0 : 1;
          const name = alone ? ["training", "validation", "throughput"][what] : names.get(run.key);
          traces.push({
            type: "scatter",
            mode: points ? "markers" : "lines+markers",
            x: beside ? [order + 1] : run.epochs.epoch,
            y: run.epochs[column],
            name: width < NARROW ? escaped(name).replace(/, (?=[^,]*$)/, "<br>") : escaped(name),
            legendgroup: name,
            showlegend: !named.has(name),
            xaxis: `x${end}`,
            yaxis: `y${end}`,
            line: {
              color: cycled(LOOK.palette, alone ? what : order),
              width: 2.5,
              dash: alone
                ? what
                  ? "solid"
                  : "dash"
                : LOOK.dashes[Math.floor(order / LOOK.palette.length)],
            },
            marker: { symbol: cycled(LOOK.symbols, alone ? what : order), size: points ? 10 : 7 },
          });
          named.add(name);
        }
      }),
    );
    return panels(
      element,
      width,
      there.map(([title]) => title),
      traces,
      beside ? "chosen run" : "epoch",
    );
  };

  const steps = (element, run) => () => {
    const { together, ranks } = run.steps;
    element.style.height = "320px";
    return {
      data: ranks.map(({ rank, ms }, order) => ({
        type: "scatter",
        mode: "lines",
        name: `rank ${rank}`,
        y: ms,
        x: ms.map((_, at) => at * together + 1),
        // Ranks wait for each other, so that their times are almost the same: the first one drawn is
        // wide and the next narrow, and both show.
        line: { width: order ? 1 : 4, color: cycled(LOOK.palette, order) },
        opacity: order ? 1 : 0.45,
        hovertemplate: "step %{x}: %{y:,.1f} ms",
      })),
      layout: {
        template: LOOK.template,
        height: 320,
        margin: { t: 16, b: 84 },
        meta: { min_width: 240 },
        showlegend: ranks.length > 1,
        xaxis: { title: { text: "step" } },
        yaxis: { title: { text: "time (ms)" }, rangemode: "tozero" },
      },
    };
  };

  const drawRun = (place, run) =>
    plotly().then(() => {
      for (const element of place.querySelectorAll(".sb-run-plot")) {
        const kind = element.dataset.plot;
        if (kind === "utilisation") element.style.height = `${run.utilisation.layout.height}px`;
        const figure = {
          curves: () => curves(element, [run]),
          steps: () => steps(element, run),
          utilisation: () => run.utilisation,
        }[kind]();
        window.scalebook.drawIn(element, figure);
      }
    });

  // ---- the page of one run -------------------------------------------------------------

  const showRun = async () => {
    const key = new URLSearchParams(location.search).get("run");
    if (!key) {
      say("The address names no run: choose one among all runs.");
      return;
    }
    let run;
    try {
      run = await runData(key);
    } catch {
      say(`There is no run ${key} in this book.`);
      return;
    }
    const all = document.querySelector(`.bd-sidebar-primary a[href="${page.dataset.explorer}"]`);
    if (all) all.closest("li").classList.add("current", "active");
    find("h1").textContent = run.title;
    document.title = `${run.title} — ${document.title.split(" — ").pop()}`;
    find(".sb-back [aria-current]").textContent = run.title;
    const place = find(".sb-run");
    place.innerHTML = run.html; // written by this package, what runs say is escaped in it
    find(".sb-stem").append(
      " · ",
      make("a", {
        href: `${page.dataset.explorer}?runs=${encodeURIComponent(key)}`,
        textContent: "compare with other runs",
      }),
    );
    place.hidden = false;
    const asked = location.hash && document.getElementById(location.hash.slice(1));
    if (asked) asked.scrollIntoView();
    drawRun(place, run);
  };

  // ---- the explorer --------------------------------------------------------------------

  let keys = [],
    columns = [],
    metrics = [],
    byName = {},
    rowOf = new Map(),
    keyOf = new Map(),
    words = [],
    experiments = [],
    called; // what a cell of a row shows, by the column's name
  const state = {};

  // Names of runs side by side: in what they differ, and the job.
  const namesOf = (chosen) => {
    const rows = chosen.map((key) => rowOf.get(key));
    if (rows.includes(undefined)) return new Map(); // on the page of a run
    const differ = ["experiment", "system"].filter(
      (name) => rows.length === 1 || new Set(rows.map((row) => called(name, row))).size > 1,
    );
    return new Map(
      chosen.map((key, at) => [
        key,
        [...differ.map((name) => called(name, rows[at])), jobOf(key)].join(", "),
      ]),
    );
  };

  // State and address: a link here asks by `?`, what the reader changes stands after `#`. (A link
  // by `#` would trouble the theme, which takes that for the name of an element.)
  const defaults = {
    q: "",
    sort: "-started",
    columns: SHOWN.join(","),
    x: "world_size",
    y: "throughput",
    by: "experiment",
    runs: "",
    ...Object.fromEntries(FACETS.map((name) => [name, ""])),
  };
  const asState = (text) =>
    Object.fromEntries([...new URLSearchParams(text)].filter(([name]) => name in defaults));
  const first = () => ({ ...defaults, ...asState(location.search) });

  const readAddress = () => {
    Object.assign(state, first(), asState(location.hash.slice(1)), { part: 0 });
    const named = state.runs
      .split(",")
      .filter(Boolean)
      .map((name) => keyOf.get(name) || name);
    state.chosen = new Set(named.filter((key) => rowOf.has(key)));
    state.missing = named.length - state.chosen.size;
    for (const axis of ["x", "y", "by"]) if (!byName[state[axis]]) state[axis] = defaults[axis];
  };

  const writeAddress = () => {
    state.runs = [...state.chosen]
      .map((key) => (keyOf.get(short(key)) === key ? short(key) : key))
      .join(",");
    const from = first();
    const changed = Object.keys(from).filter((name) => state[name] !== from[name]);
    const hash = new URLSearchParams(changed.map((name) => [name, state[name]])).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  };

  // Rows that are asked for, in order.
  const CONDITION = /^([a-z_/]+)(>=|<=|>|<|=)(.+)$/i;
  const HOLDS = {
    ">=": (a, b) => a >= b,
    "<=": (a, b) => a <= b,
    ">": (a, b) => a > b,
    "<": (a, b) => a < b,
    "=": (a, b) => a === b,
  };

  const asked = () => {
    const tests = FACETS.filter((name) => state[name]).map((name) => {
      const { values } = byName[name];
      return (row) => String(values[row] ?? "") === state[name];
    });
    for (const word of state.q.toLowerCase().split(/\s+/).filter(Boolean)) {
      const [, name, sign, wanted] = CONDITION.exec(word) || [];
      const column = byName[name] || columns.find((one) => one.title.toLowerCase() === name);
      if (!column) tests.push((row) => words[row].includes(word));
      else if (Number.isNaN(Number(wanted)))
        tests.push((row) => HOLDS[sign](String(column.values[row] ?? "").toLowerCase(), wanted));
      else
        tests.push(
          (row) =>
            column.values[row] !== null && HOLDS[sign](Number(column.values[row]), Number(wanted)),
        );
    }
    const rows = [];
    for (let row = 0; row < keys.length; row++)
      if (tests.every((test) => test(row))) rows.push(row);
    const down = state.sort.startsWith("-") ? -1 : 1;
    const column = byName[state.sort.replace("-", "")];
    if (!column) return rows;
    const of = column.values;
    const missing = (value) => value === null || value === "";
    return rows.sort((a, b) => {
      const [left, right] = [of[a], of[b]];
      if (missing(left) || missing(right)) return missing(left) - missing(right) || a - b;
      return down * (left < right ? -1 : left > right ? 1 : 0) || a - b;
    });
  };

  const shownColumns = () =>
    state.columns
      .split(",")
      .map((name) => byName[name])
      .filter(Boolean);

  const drawHead = () => {
    const sorted = state.sort.replace("-", "");
    const cells = shownColumns().map((column) => {
      const down = state.sort.startsWith("-");
      const button = make("button", { type: "button" }, column.title);
      button.onclick = () => {
        // Of numbers and times the largest is asked for first.
        const first = isNumber(column) || column.name === "started";
        const descends = sorted === column.name ? !down : first;
        state.sort = `${descends ? "-" : ""}${column.name}`;
        state.part = 0;
        update({ focus: column.name });
      };
      button.dataset.column = column.name;
      const cell = make("th", { scope: "col" }, button);
      if (sorted === column.name) cell.ariaSort = down ? "descending" : "ascending";
      return cell;
    });
    const box = make(
      "th",
      { scope: "col" },
      make("span", { className: "visually-hidden", textContent: "choose" }),
    );
    const { sort, order } = find(".sb-sorting").elements;
    Object.assign(sort, { value: sorted });
    Object.assign(order, { value: state.sort.startsWith("-") ? "-" : "" });
    find("thead").replaceChildren(
      make("tr", {}, box, make("th", { scope: "col", textContent: "run" }), ...cells),
    );
  };

  // Whether the images of a row were generated, so that its accuracies mean nothing.
  const generated = (row) => byName.dataset.values[row] === "synthetic";

  const drawRows = (rows) => {
    const parts = Math.max(1, Math.ceil(rows.length / ROWS));
    state.part = Math.min(state.part, parts - 1);
    const start = state.part * ROWS;
    const body = rows.slice(start, start + ROWS).map((row) => {
      const key = keys[row];
      const box = make("input", {
        type: "checkbox",
        value: key,
        checked: state.chosen.has(key),
        ariaLabel: `Choose ${key}`,
      });
      box.onchange = () => choose(key, box.checked);
      const name = make("a", { href: runAddress(key), textContent: jobOf(key), title: key });
      const cells = shownColumns().map((column) => {
        const shown = text(column, column.values[row]);
        const cell = make("td", { textContent: shown });
        cell.dataset.label = column.title;
        if (column.labels[column.values[row]])
          Object.assign(cell, { className: "sb-label", title: column.values[row] });
        if (isNumber(column)) cell.className = "sb-numeric";
        if (column.name === "started") cell.className = "sb-started";
        if (generated(row) && column.name.endsWith("_acc") && column.values[row] !== null)
          cell.append(make("span", { className: "sb-aside", textContent: " synthetic" }));
        if (column.name === "standing") {
          cell.replaceChildren(
            make("span", {
              className: `sb-standing sb-is-${column.values[row]}`,
              textContent: column.values[row],
            }),
          );
        }
        return cell;
      });
      return make(
        "tr",
        {},
        make("td", { className: "sb-box" }, box),
        make("th", { scope: "row" }, name),
        ...cells,
      );
    });
    if (!rows.length) {
      const all = make("button", { type: "button", textContent: "show all" });
      all.onclick = () => find(".sb-filter").reset();
      const cell = make("td", { colSpan: shownColumns().length + 2 }, "No run matches; ", all);
      body.push(make("tr", {}, cell));
    }
    find("tbody").replaceChildren(...body);
    const [before, where, after] = find(".sb-turn").children;
    before.disabled = !state.part;
    after.disabled = state.part === parts - 1;
    where.textContent = rows.length
      ? `${start + 1}–${Math.min(start + ROWS, rows.length)} of ${rows.length.toLocaleString("en-US")}`
      : "none";
    find(".sb-turn").hidden = parts === 1;
    find(".sb-count").textContent =
      `${rows.length.toLocaleString("en-US")} of ${keys.length.toLocaleString("en-US")} runs`;
  };

  const scatter = (rows) => {
    const [x, y, by] = ["x", "y", "by"].map((axis) => byName[state[axis]]);
    const there = rows.filter((row) => x.values[row] !== null && y.values[row] !== null);
    const groups = new Map();
    for (const row of there) {
      const name = text(by, by.values[row]);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    const order = (mine, at) => {
      const own = by.name === "experiment" ? experiments.indexOf(by.values[mine[0]]) : at;
      return own < 0 ? experiments.length : own;
    };
    const data = [...groups].map(([name, mine], at) => ({
      type: "scatter",
      mode: "markers",
      name: escaped(name),
      x: mine.map((row) => x.values[row]),
      y: mine.map((row) => y.values[row]),
      customdata: mine.map((row) => keys[row]),
      text: mine.map((row) => escaped(keys[row])),
      hovertemplate: "%{text}<br>%{x}, %{y}<extra></extra>",
      marker: {
        // A trial is drawn open, as everything is that no document rests on.
        symbol: mine.map(
          (row) =>
            cycled(LOOK.symbols, order(mine, at)) +
            (byName.standing.values[row] === "evidence" ? "" : "-open"),
        ),
        size: mine.map((row) => (state.chosen.has(keys[row]) ? 15 : 9)),
        color: cycled(LOOK.palette, order(mine, at)),
        line: { width: 2, color: cycled(LOOK.palette, order(mine, at)) },
      },
    }));
    const element = find(".sb-scatter");
    element.style.height = "420px";
    const left = (rows.length - there.length).toLocaleString("en-US");
    const lacking = [x, y]
      .filter(({ values }) => rows.some((row) => values[row] === null))
      .map(({ title }) => title);
    find(".sb-scatter-note").textContent =
      (there.length < rows.length
        ? `${left} of ${rows.length.toLocaleString("en-US")} runs not drawn: no ${lacking.join(" or ")}. `
        : "") + "Open marks stand behind no document. A click on a point chooses its run.";
    element.ariaLabel = `Scatter of ${y.title} against ${x.title} of ${there.length} runs`;
    const layout = {
      template: LOOK.template,
      height: 420,
      margin: { t: 12, b: 100, l: 8, r: 40 },
      meta: { min_width: 240 },
      showlegend: groups.size <= 20,
      hovermode: "closest",
      xaxis: {
        title: { text: escaped(x.title) },
        dtick: x.name === "world_size" && there.every((row) => x.values[row] <= 12) ? 1 : undefined,
      },
      yaxis: { title: { text: escaped(y.title) } },
    };
    window.scalebook.drawIn(element, () => ({ data, layout }));
    if (!element.dataset.listens) {
      element.dataset.listens = "yes";
      element.on("plotly_click", ({ points }) =>
        choose(points[0].customdata, !state.chosen.has(points[0].customdata)),
      );
    }
  };

  const compare = (runs) => {
    const results = ["status", ...metrics].map((name) => byName[name]);
    const lines = results.map((column) => [
      column.title,
      runs.map((run) => text(column, column.values[rowOf.get(run.key)])),
    ]);
    const names = new Set(runs.flatMap((run) => Object.keys(run.settings)));
    for (const name of names) lines.push([name, runs.map((run) => run.settings[name] ?? "–")]);
    const titles = namesOf([...state.chosen]);
    const all = find(".sb-equal input").checked;
    const kept = lines.filter(([, values]) => all || runs.length === 1 || new Set(values).size > 1);
    const head = [make("th", { scope: "col", textContent: "setting" })];
    for (const run of runs) {
      head.push(
        make(
          "th",
          { scope: "col" },
          make("a", { href: runAddress(run.key), textContent: titles.get(run.key) }),
        ),
      );
    }
    find(".sb-some").textContent =
      runs.length < state.chosen.size
        ? `${runs.length} of the ${state.chosen.size} chosen runs, of each experiment and system in turn.`
        : "";
    find(".sb-what").textContent = runs.length > 1 ? "What differs" : "Its settings";
    find(".sb-equal").hidden = runs.length === 1;
    const [thead, tbody] = find(".sb-compare table").children;
    thead.replaceChildren(make("tr", {}, ...head));
    tbody.replaceChildren(
      ...kept.map(([name, values]) =>
        make(
          "tr",
          {},
          make("th", { scope: "row", textContent: name }),
          ...values.map((value) => make("td", { textContent: value })),
        ),
      ),
    );
  };

  // As many as are shown side by side, of each experiment and system in turn.
  const someOf = (runs) => {
    const seen = new Map();
    const turn = new Map(
      runs.map((run) => {
        const row = rowOf.get(run.key);
        const kind = `${byName.experiment.values[row]} ${byName.system.values[row]}`;
        seen.set(kind, (seen.get(kind) || 0) + 1);
        return [run, seen.get(kind)];
      }),
    );
    const some = [...runs].sort((a, b) => turn.get(a) - turn.get(b)).slice(0, MOST_COMPARED);
    return runs.filter((run) => some.includes(run));
  };

  // What was chosen, in words.
  const kindsOf = (chosen) => {
    const counts = new Map();
    for (const row of chosen.map((key) => rowOf.get(key))) {
      const kind = `${called("experiment", row)} on ${called("system", row)}`;
      counts.set(kind, (counts.get(kind) || 0) + 1);
    }
    const kinds = [...counts].map(([kind, count]) => (count > 1 ? `${kind} (${count})` : kind));
    return kinds.slice(0, 8).join("; ") + (kinds.length > 8 ? `; ${kinds.length - 8} more` : "");
  };

  const drawChosen = async () => {
    const chosen = [...state.chosen];
    const count = chosen.length.toLocaleString("en-US");
    document.getElementById("chosen").textContent = chosen.length
      ? `${count} chosen run${chosen.length > 1 ? "s" : ""}`
      : "Chosen runs";
    find(".sb-chosen-what").textContent = [
      kindsOf(chosen),
      state.missing ? `${state.missing} of those asked for are not in this book` : "",
    ]
      .filter(Boolean)
      .join("; ");
    find(".sb-chosen-back a").textContent = `Back to all ${keys.length.toLocaleString("en-US")} runs`;
    const names = namesOf(chosen);
    find(".sb-chosen").hidden = !chosen.length;
    find(".sb-chosen-back").hidden = !chosen.length && !state.missing;
    find(".sb-hint").hidden = chosen.length > 1;
    find(".sb-chosen-runs").replaceChildren(
      ...chosen.map((key) => {
        const remove = make("button", {
          type: "button",
          textContent: "remove",
          ariaLabel: `Remove ${key}`,
        });
        remove.onclick = () => {
          choose(key, false);
          (find(".sb-chosen-runs button") || document.getElementById("chosen")).focus();
        };
        return make(
          "li",
          {},
          make("a", { href: runAddress(key), textContent: names.get(key), title: key }),
          " ",
          remove,
        );
      }),
    );
    const link = find(".sb-to-chosen");
    link.hidden = !chosen.length;
    link.textContent = `${chosen.length} chosen`;
    if (!chosen.length) return;
    const runs = await Promise.all(chosen.slice(0, MOST_DRAWN).map(runData));
    if (chosen.join() !== [...state.chosen].join()) return; // chosen anew meanwhile
    compare(someOf(runs));
    const overlay = find(".sb-overlay"),
      curved = runs.filter((run) => Object.keys(run.epochs).length);
    overlay.parentElement.hidden = !curved.length;
    if (!curved.length) return;
    await plotly();
    window.scalebook.drawIn(overlay, curves(overlay, curved));
  };

  // The address holds the state, so that these are no links of their own.
  const showChosen = (event) => {
    event?.preventDefault();
    const heading = document.getElementById("chosen");
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ behavior: "instant" });
  };
  const showAll = (event) => {
    event.preventDefault();
    find(".sb-run-list").focus({ preventScroll: true });
    find(".sb-explorer").scrollIntoView({ behavior: "instant" });
  };

  const chooseNone = (event) => {
    state.chosen.clear();
    state.missing = 0;
    for (const box of page.querySelectorAll(".sb-box input")) box.checked = false;
    chosenAnew();
    showAll(event);
  };

  const chosenAnew = () => {
    writeAddress();
    drawScatter(asked());
    return drawChosen();
  };

  const choose = (key, is) => {
    if (is) state.chosen.add(key);
    else state.chosen.delete(key);
    for (const box of page.querySelectorAll(".sb-box input")) {
      if (box.value === key) box.checked = is; // and stays in focus
    }
    return chosenAnew();
  };

  // Figures follow when the reader pauses: a letter typed changes the table at once.
  let pause;
  const drawScatter = (rows) => {
    clearTimeout(pause);
    pause = setTimeout(() => plotly().then(() => scatter(rows)), 200);
  };

  const update = ({ focus } = {}) => {
    writeAddress();
    drawHead();
    const rows = asked();
    drawRows(rows);
    if (focus) find(`thead button[data-column="${focus}"]`).focus();
    find(".sb-plotted").hidden = !rows.length;
    if (rows.length) drawScatter(rows);
  };

  const options = (select, among, chosen) => {
    select.replaceChildren(
      ...among.map(([value, title]) => new Option(title, value, false, value === chosen)),
    );
  };

  const fillForms = () => {
    find("input[name=q]").value = state.q;
    const facets = FACETS.map((name) => {
      const column = byName[name];
      const values = [...new Set(column.values.map((value) => String(value ?? "")))]
        .filter(Boolean)
        .sort((a, b) => (isNumber(column) ? a - b : a < b ? -1 : 1));
      const select = make("select", { name });
      options(
        select,
        [["", "all"], ...values.map((value) => [value, text(column, value)])],
        state[name],
      );
      return make(
        "label",
        { hidden: values.length < 2 && !state[name] },
        `${column.title} `,
        select,
      );
    });
    find(".sb-facets").replaceChildren(...facets);
    const titles = columns
      .filter((column) => column.values.some((value) => value !== null))
      .map(({ name, title }) => [name, title]);
    for (const axis of ["x", "y", "by"]) options(find(`select[name=${axis}]`), titles, state[axis]);
    options(find("select[name=sort]"), titles, state.sort.replace("-", ""));
    find(".sb-columns div").replaceChildren(
      ...columns.map((column) => {
        const box = make("input", {
          type: "checkbox",
          value: column.name,
          checked: shownColumns().includes(column),
        });
        box.onchange = () => {
          const wanted = [...find(".sb-columns div").querySelectorAll(":checked")].map(
            (one) => one.value,
          );
          state.columns = wanted.join(",");
          update();
        };
        return make("label", {}, box, ` ${column.title}`);
      }),
    );
  };

  const restore = () => {
    readAddress();
    fillForms();
    update();
    return drawChosen();
  };

  const listen = () => {
    const filter = find(".sb-filter"),
      axes = find(".sb-axes"),
      sorting = find(".sb-sorting");
    filter.addEventListener("input", ({ target }) => {
      state[target.name] = target.value;
      state.part = 0;
      update();
    });
    sorting.addEventListener("input", () => {
      const { sort, order } = sorting.elements;
      Object.assign(state, { sort: order.value + sort.value, part: 0 });
      update();
    });
    for (const form of [filter, axes, sorting])
      form.addEventListener("submit", (event) => event.preventDefault());
    filter.addEventListener("reset", (event) => {
      event.preventDefault();
      Object.assign(
        state,
        { q: "", part: 0 },
        Object.fromEntries(FACETS.map((name) => [name, ""])),
      );
      fillForms();
      update();
    });
    axes.addEventListener("input", ({ target }) => {
      state[target.name] = target.value;
      update();
    });
    const [before, , after] = find(".sb-turn").children;
    const turn = (by) => () => {
      state.part += by;
      update();
    };
    before.onclick = turn(-1);
    after.onclick = turn(1);
    find(".sb-equal input").onchange = drawChosen;
    find(".sb-to-chosen").onclick = showChosen;
    find(".sb-chosen-back a").onclick = showAll;
    find(".sb-chosen-back button").onclick = chooseNone;
    window.addEventListener("hashchange", restore);
  };

  const showProblems = ({ problems, more_problems: more }) => {
    const count = problems.length + more;
    find(".sb-problems").hidden = !count;
    find(".sb-problems summary").textContent =
      `${count} file${count === 1 ? "" : "s"} of results could not be used`;
    const rest = more
      ? [make("li", { textContent: `and ${more} more: scalebook runs lists them` })]
      : [];
    const lines = problems.map((one) =>
      make("li", {}, make("code", { textContent: one.file }), `: ${one.problem}`),
    );
    find(".sb-problems ul").replaceChildren(...lines, ...rest);
  };

  const showBest = (groups, titles) => {
    find(".sb-best").hidden = !groups.length;
    find(".sb-best").append(
      ...groups.map(({ which, best }) =>
        make(
          "div",
          {},
          make("p", { textContent: `Best of ${which}:` }),
          make(
            "ul",
            {},
            ...best.map(({ key, why }) =>
              make(
                "li",
                {},
                `${why}: `,
                make("a", {
                  href: runAddress(key),
                  textContent: titles[rowOf.get(key)],
                }),
              ),
            ),
          ),
        ),
      ),
    );
  };

  // Who followed a link to some runs sees them first; who comes back finds the page as it was.
  const meetChosen = async (drawn) => {
    const [{ type } = {}] = performance.getEntriesByType("navigation");
    if (type !== "navigate" || !(state.chosen.size || state.missing)) return;
    showChosen();
    const before = window.scrollY;
    await drawn; // the page is longer then
    if (window.scrollY === before) showChosen();
  };

  const showExplorer = async () => {
    let index;
    try {
      index = await window.scalebook.readIndex(page.dataset.index);
    } catch {
      say("The list of runs is not there: build the book again.");
      return;
    }
    ({ keys, columns, metrics, byName, experiments, called } = index);
    rowOf = new Map(keys.map((key, row) => [key, row]));
    for (const key of keys) keyOf.set(short(key), keyOf.has(short(key)) ? "several" : key);
    words = keys.map((_, row) => index.wordsOf(row));
    find(".sb-explorer").hidden = false;
    showProblems(index);
    if (!keys.length) {
      say(`No run yet: start one with ${index.start}`);
      for (const part of find(".sb-explorer").children)
        part.hidden ||= !part.matches(".sb-problems");
      return;
    }
    listen();
    showBest(index.best, index.titles);
    meetChosen(restore());
    performance.mark("sb-runs-shown");
  };

  if (page.dataset.view === "explorer") showExplorer();
  else if (page.dataset.view === "run") showRun();
  else drawRun(page, JSON.parse(document.getElementById("sb-run-data").textContent));
})();
