// A figure that is drawn anew in its place. `plotly()` stands before this, see `widgets.py`.

function render({ model, el }) {
  const node = document.createElement("div");
  node.style.minWidth = "520px"; // narrower, and the plots beside each other are no longer legible
  el.style.overflowX = "auto";
  el.append(node);
  const drawing = plotly();
  const config = { responsive: true, displaylogo: false };
  const draw = () => {
    const { data, layout } = JSON.parse(model.get("figure"));
    drawing.react(node, data, layout, config);
  };
  model.on("change:figure", draw);
  draw();
  const sizes = new ResizeObserver(() => node.isConnected && drawing.Plots.resize(node));
  sizes.observe(el);
  return () => {
    model.off("change:figure", draw);
    sizes.disconnect();
    drawing.purge(node);
  };
}

export default { render };
