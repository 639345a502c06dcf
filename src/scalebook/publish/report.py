"""``scalebook report``: a run as one HTML file that needs nothing beside it."""

import functools
import itertools
import json
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import plotly
from nbconvert import HTMLExporter
from traitlets.config import Config

from scalebook import __version__, contract, results
from scalebook.analysis.comparable import SYNTHETIC
from scalebook.analysis.study_queries import label
from scalebook.contract import ScalebookError
from scalebook.publish import plots
from scalebook.publish.notebooks.execute import execute
from scalebook.publish.plotly_mime import MIME

#: Folder of the reports, below the study's root.
FOLDER = "_build/reports"
#: Seconds a cell may take.
TIMEOUT_S = 300.0
_HERE = resources.files("scalebook.publish")


def write(run: str, root: Path, out: Path | None = None) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    run : str
        As `results.find` takes it.
    root : Path
        Folder of the study.
    out : Path, optional
        The file; ``_build/reports/<stem>.html`` where left out.

    Raises
    ------
    ScalebookError
        If there is no such run, or its files cannot be read.
    """
    stem = results.find(run)
    with (
        resources.as_file(_HERE / "templates") as templates,
        tempfile.TemporaryDirectory(prefix="scalebook-") as scratch,
    ):
        executed = Path(scratch) / "report.ipynb"
        source = templates / "report" / "notebook.py"
        failure = execute(source, executed, {"study": str(root), "stem": stem}, TIMEOUT_S)
        if failure:
            raise ScalebookError(f"report: {stem}: {failure}")
        page = _page(nbformat.read(executed, as_version=4), stem, templates)
    out = out or root / FOLDER / f"{stem}.html"
    try:
        contract.write_whole(out, page)
    except OSError as error:
        raise ScalebookError(f"report: {out}: cannot be written ({error.strerror})") from None
    return out


def _page(notebook: nbformat.NotebookNode, stem: str, templates: Path) -> str:
    """Executed notebook as HTML with all it needs inside."""
    # A figure before the words beside it.
    kinds = {"display_data_priority": [MIME, "text/html", "text/plain"]}
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": kinds, "HTMLExporter": kinds}),
        template_name="report",
        extra_template_basedirs=[str(templates)],
        embed_images=True,
        exclude_anchor_links=True,
    )
    exporter.register_filter("study_plot", functools.partial(_plot, counter=itertools.count(1)))
    page, _ = exporter.from_notebook_node(notebook, resources={"report": _parts(stem)})
    return page


def _parts(stem: str) -> dict[str, str]:
    """What the template puts around the cells."""
    run = results.runs(stem=stem)
    run = run[run["kind"] != "reported"].iloc[0]
    plotly_js = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    warning = "SYNTHETIC DATA: generated images, the accuracies mean nothing."
    return {
        "title": f"Run {stem}",
        "lead": _lead(run),
        "warning": warning if run["dataset"] == SYNTHETIC else "",
        "css": (_HERE / "templates/report/report.css").read_text(encoding="utf-8"),
        "script": _inline((_HERE / "static/scalebook.js").read_text(encoding="utf-8")),
        "plotly": _inline(plotly_js.read_text(encoding="utf-8")),
        "footer": f"Written by scalebook {__version__} from the files of the run alone. This page "
        "holds all it needs and asks no other host for anything.",
    }


def _lead(run: pd.Series) -> str:
    """The run in one sentence."""
    epochs = int(run["epochs_done"] or 0)
    parts = [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
    if pd.notna(run["throughput"]):
        parts.append(f"{run['throughput']:,.0f} images/s")
    if pd.notna(run["final_val_acc"]):
        parts.append(f"{run['final_val_acc']:.1f} % validation accuracy")
    system = label(run["system"], "system") or "a system that is not known"
    return (
        f"Experiment {label(run['experiment'])} on {system}, {run['status']}: {', '.join(parts)}."
    )


def _inline(script: str) -> str:
    """A script that can stand inside an element: nothing in it ends that early."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _plot(data: dict[str, Any], counter: Iterator[int]) -> str:
    """Box of a figure and its JSON, as `scalebook.js` looks for them."""
    figure = data.get(MIME)
    if figure is None:
        return ""
    figure = json.loads(figure) if isinstance(figure, str) else figure
    return plots.box(plots.plot_node(figure), next(counter))
