// The list of all runs, as the explorer and the search read it: from a script beside the book, which
// loads from a disk as well and calls `scalebook.take` with its JSON.
"use strict";
(() => {
  const loaded = new Map(); // promises by address
  let taken; // by the script that is running

  const script = (address) => {
    if (!loaded.has(address)) {
      loaded.set(
        address,
        new Promise((done, failed) => {
          const element = Object.assign(document.createElement("script"), { src: address });
          element.onload = () => done(taken);
          element.onerror = () => failed(new Error(address));
          document.head.append(element);
        }),
      );
    }
    return loaded.get(address);
  };

  const isNumber = (column) => column.digits !== null;

  // What a cell shows.
  const text = (column, value) => {
    if (value === null || value === undefined || value === "") return "–";
    if (column.name === "started") return String(value).slice(0, 16).replace("T", " ");
    if (!isNumber(column) || typeof value !== "number")
      return column.labels[value] || String(value);
    const digits = { minimumFractionDigits: column.digits, maximumFractionDigits: column.digits };
    return value.toLocaleString("en-US", digits);
  };

  // An address holds the job id of a run in place of its stem, where no other run has it.
  const short = (key) => (key.startsWith("reported.") ? key : key.slice(key.lastIndexOf("_") + 1));
  const jobOf = (key) => short(key).replace("reported.", "job ");

  // All there is of the runs, by row, and how they are called.
  const readIndex = async (address) => {
    const index = await script(address);
    for (const column of index.columns)
      column.values ||= column.at.map((at) => column.texts[at]);
    const { keys, columns } = index;
    const byName = Object.fromEntries(columns.map((column) => [column.name, column]));
    const called = (name, row) => text(byName[name], byName[name].values[row]);
    // Everything that is known of a row, as text to search.
    const wordsOf = (row) =>
      [
        keys[row],
        ...columns.flatMap(({ values, labels }) => [values[row] ?? "", labels[values[row]] ?? ""]),
      ]
        .join(" ")
        .toLowerCase();
    return { ...index, byName, called, wordsOf };
  };

  const take = (value) => {
    taken = value;
  };
  Object.assign(window.scalebook, { take, script, text, isNumber, short, jobOf, readIndex });
})();
