"""``scalebook report``: a run as one HTML file that needs nothing beside it."""

from pathlib import Path

from markupsafe import Markup

from scalebook import __version__, contract, results
from scalebook.contract import ScalebookError
from scalebook.publish import plots
from scalebook.publish.runs.content import TEMPLATES, content, environment
from scalebook.publish.runs.pages import SCRIPTS, look

#: Folder of the reports, below the study's root.
FOLDER = "_build/reports"
STATIC = Path(__file__).parent / "static"


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
    with results.one_snapshot():
        rows = results.runs(stem=stem)
        known = content(rows[rows["kind"] != "reported"].iloc[0].to_dict(), root, offer=False)
    names = ("scalebook.js", *SCRIPTS)
    plotly = plots.script(plots.types(known["utilisation"] or {}))  # the others are lines
    out = out or root / FOLDER / f"{stem}.html"
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=known["title"],
            html=Markup(known.pop("html")),  # escaped where it was made
            look=Markup(look()),
            data=Markup(plots.script_json(known)),
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            scripts=[_inline(path) for path in (plotly, *(STATIC / name for name in names))],
            version=__version__,
        )
    )
    try:
        contract.write_whole(out, page)
    except OSError as error:
        raise ScalebookError(f"report: {out}: cannot be written ({error.strerror})") from None
    return out


def _inline(path: Path) -> Markup:
    """A script that can stand inside an element: nothing in it ends that early."""
    script = path.read_text(encoding="utf-8")
    return Markup(script.replace("</script", "<\\/script").replace("<!--", "<\\!--"))
