// A figure that is drawn anew in its place.

/** Plotly, one for all figures of the page, as a module whatever loader the page has of its own. */
function load(script) {
  globalThis.scalebookPlotly ??= import(URL.createObjectURL(new Blob(
    ["const module = { exports: {} }, exports = module.exports, define = undefined;\n", script,
      "\nexport default module.exports;"],
    { type: "text/javascript" },
  ))).then((loaded) => loaded.default);
  return globalThis.scalebookPlotly;
}

async function render({ model, el }) {
  const node = document.createElement("div");
  node.style.minWidth = "520px"; // narrower, and the plots beside each other are no longer legible
  el.style.overflowX = "auto";
  el.append(node);
  const plotly = await load(model.get("plotly"));
  const config = { responsive: true, displaylogo: false };
  const draw = () => {
    const { data, layout } = JSON.parse(model.get("figure"));
    plotly.react(node, data, layout, config);
  };
  model.on("change:figure", draw);
  draw();
  const sizes = new ResizeObserver(() => node.isConnected && plotly.Plots.resize(node));
  sizes.observe(el);
  return () => {
    model.off("change:figure", draw);
    sizes.disconnect();
    plotly.purge(node);
  };
}

export default { render };
