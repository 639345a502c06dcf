"""Choose an experiment, see what it would run, and start it."""

from __future__ import annotations

import html
import shlex
from typing import Any

import ipywidgets
from IPython.display import display

from scalebook import contract, launch, study
from scalebook.contract import ScalebookError
from scalebook.figures.notebook import show_markup, show_table, show_table_html
from scalebook.live.frontend import takes_widgets
from scalebook.live.settings import command, settings
from scalebook.live.views import WatchView
from scalebook.live.widgets import answering


class Picker:
    """Fields for what can be chosen of the study, and a button that submits it.

    Parameters
    ----------
    experiment : str, optional
        Chosen at first; the study's first one where left out.
    """

    def __init__(self, experiment: str | None = None) -> None:
        self._root = contract.find_root()
        self._study = study.load(self._root)
        names = list(self._study.experiments)
        if experiment is not None:
            self._study.experiment(experiment)
        wide = {"style": {"description_width": "90px"}, "layout": {"width": "min(100%, 420px)"}}
        self.experiment = ipywidgets.Dropdown(
            options=names, value=experiment or names[0], description="experiment", **wide
        )
        self.system = ipywidgets.Dropdown(
            options=["auto", *self._study.systems], description="system", **wide
        )
        self.seed = ipywidgets.Dropdown(options=list(self._study.seeds), description="seed", **wide)
        self.overrides = ipywidgets.Text(
            placeholder="epochs=3 train_images=2048", description="settings", **wide
        )
        self.overrides.continuous_update = False
        self.submit = ipywidgets.Button(description="submit", icon="play", button_style="primary")
        fields = (self.experiment, self.system, self.seed, self.overrides)
        for field in (*fields, self.submit):
            answering(field)
        self.about, self.command, self.message, self.settings = (
            ipywidgets.HTML() for _ in range(4)
        )
        folded = ipywidgets.Accordion([self.settings], titles=["settings of the run"])
        self._below = ipywidgets.VBox()
        self.box = ipywidgets.VBox(
            [self.experiment, self.about, self.system, self.seed, self.overrides, self.command,
             self.submit, self.message, folded, self._below]
        )  # fmt: skip
        for field in fields:
            field.observe(lambda _: self.update(), "value")
        self.submit.on_click(lambda _: self.start())
        self.update()

    @property
    def chosen(self) -> dict[str, Any]:
        """What is chosen, as `command` takes it.

        Raises
        ------
        UsageError
            If the settings cannot be read.
        """
        first = self.seed.value == self._study.seeds[0]
        return {
            "experiment": self.experiment.value,
            "system": self.system.value,
            "seed": None if first else self.seed.value,
            "overrides": study.parse_overrides(tuple(shlex.split(self.overrides.value))),
        }

    def resolve(self) -> tuple[dict[str, Any], str]:
        """What one training process would read, and the system it runs on and why.

        Raises
        ------
        ScalebookError
            If that cannot run.
        """
        chosen = self.chosen
        choice = launch.pick_system(self._study, chosen["system"])
        resolved = study.resolve(
            self._study, chosen["experiment"], choice.system, chosen["seed"], chosen["overrides"]
        )
        return resolved, str(choice)

    def update(self) -> None:
        """Show what is chosen, or what is wrong with it."""
        described = self._study.experiment(self.experiment.value).description
        self.about.value = f"<em>{html.escape(described or '')}</em>"
        try:
            line = command(**self.chosen)
            resolved, choice = self.resolve()
        except (ScalebookError, ValueError) as error:
            self._refuse(str(error))
            return
        self.submit.disabled = False
        self.command.value = f"<code>{html.escape(line)}</code>"
        self.message.value = f"It runs on {html.escape(choice)}."
        self.settings.value = show_table_html(settings(resolved))

    def start(self) -> None:
        """Submit it, unless a job of the very same settings is under way, and show its curves."""
        self.submit.disabled = True
        try:
            resolved, choice = self.resolve()
            job, is_new = launch.submit_once(resolved, self._root)
        except (ScalebookError, ValueError) as error:
            self._refuse(str(error))
            return
        self.submit.disabled = False
        what = "submitted" if is_new else "the same settings were under way:"
        self.message.value = html.escape(f"{what} job {job.id} on {choice}")
        view = WatchView(job)
        view.start()
        self._below.children = [view.box]

    def _refuse(self, line: str) -> None:
        self.submit.disabled = True
        self.command.value = self.settings.value = ""
        self.message.value = f'<span style="color:#d55e00">{html.escape(line)}</span>'


def pick(experiment: str | None = None) -> None:
    """Choose an experiment of the study, see its settings and its command, and submit it.

    Where no notebook is open to show fields, as under papermill and in the book, command and
    settings stand there alone.

    Parameters
    ----------
    experiment : str, optional
        Chosen at first; the study's first one where left out.
    """
    if takes_widgets():
        display(Picker(experiment).box)
        return
    loaded = study.load()
    name = experiment or next(iter(loaded.experiments))
    line = command(name, "auto", None, {})
    show_markup(f"<p><code>{html.escape(line)}</code></p>", f"`{line}`")
    show_table(settings(study.resolve(loaded, name, launch.pick_system(loaded).system)))
