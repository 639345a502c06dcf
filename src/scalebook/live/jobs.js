// The table of jobs. Rows come from the kernel; buttons say there what to do with which job.

const SURE_MS = 4000;

function cell(row, name, header) {
  const td = row.insertCell();
  td.className = name;
  td.dataset.header = header;
  return td;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A button that does something to a job; one that ends something asks first. */
function button(label, title, act, asks = false) {
  const node = document.createElement("button");
  node.textContent = label;
  node.title = title;
  let timer = null;
  const relax = () => {
    timer = null;
    node.classList.remove("sb-sure");
    node.textContent = label;
  };
  node.addEventListener("click", () => {
    if (!asks || timer) {
      if (timer) { clearTimeout(timer); relax(); }
      act(node);
    } else {
      node.classList.add("sb-sure");
      node.textContent = "sure?";
      timer = setTimeout(relax, SURE_MS);
    }
  });
  return node;
}

function render({ model, el }) {
  el.classList.add("scalebook-jobs");
  const table = document.createElement("table");
  const note = Object.assign(document.createElement("div"), { className: "sb-note" });
  const log = document.createElement("pre");
  el.append(table, note, log);
  const body = table.createTBody();
  const rows = new Map();
  const send = (action, job) => model.send({ action, job });

  function makeRow(job) {
    const row = document.createElement("tr");
    const cells = model.get("headers").map(([name, kind]) => cell(row, kind, name));
    const bar = document.createElement("progress");
    const text = document.createElement("span");
    cells.find((td) => td.className === "sb-progress").append(text, bar);
    const does = cell(row, "sb-does", "");
    const cancel = button("cancel", "End every rank of this job", (node) => {
      node.disabled = true;
      send("cancel", job);
    }, true);
    does.append(cancel, button("logs", "Show what it printed last", () => send("logs", job)));
    if (model.get("opens")) {
      does.append(button("open", "Show its curves below", () => send("open", job)));
    } else {
      does.append(button("keep in sight", "Lay it above the notebook, or put it back", (node) => {
        setText(node, keepInSight(el) ? "put back" : "keep in sight");
      }));
    }
    return { row, cells, bar, text, cancel };
  }

  function drawRows() {
    const shown = model.get("rows");
    shown.forEach(({ job, cells, fraction, finished }, position) => {
      if (!rows.has(job)) rows.set(job, makeRow(job));
      const one = rows.get(job);
      cells.forEach((text, i) => setText(one.cells[i].className === "sb-progress" ? one.text : one.cells[i], text));
      one.bar.value = fraction;
      one.bar.hidden = finished;
      one.cancel.hidden = finished;
      if (finished) one.cancel.disabled = false; // it may be resumed
      if (body.rows[position] !== one.row) body.insertBefore(one.row, body.rows[position] ?? null);
    });
    for (const [job, { row }] of rows) {
      if (!shown.some((one) => one.job === job)) { row.remove(); rows.delete(job); }
    }
    table.hidden = !shown.length;
    // A column that says nothing of any job takes no room.
    model.get("headers").forEach(([name], i) => {
      const empty = name !== "progress" && !shown.some(({ cells }) => cells[i]);
      heads[i].hidden = empty;
      for (const { cells } of rows.values()) cells[i].hidden = empty;
    });
  }

  function drawRest() {
    setText(note, model.get("note"));
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    setText(log, model.get("log"));
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  const head = table.createTHead().insertRow();
  const heads = model.get("headers").map(([name, kind]) =>
    Object.assign(document.createElement("th"), { textContent: name, className: kind }));
  head.append(...heads);
  head.append(document.createElement("th"));
  model.on("change:rows", drawRows);
  model.on("change:note change:log", drawRest);
  drawRows();
  drawRest();
  return () => {
    model.off("change:rows", drawRows);
    model.off("change:note change:log", drawRest);
  };
}

/** Lay the view around `el` above all else, where scrolling does not move it, or put it back. */
function keepInSight(el) {
  const view = el.closest(".scalebook-live");
  if (!view || !view.showPopover) return false;
  const shown = view.matches(":popover-open");
  if (shown) {
    view.hidePopover();
    view.removeAttribute("popover");
  } else {
    view.setAttribute("popover", "manual");
    view.showPopover();
  }
  window.dispatchEvent(new Event("resize")); // the curves take the new width
  return !shown;
}

export default { render };
