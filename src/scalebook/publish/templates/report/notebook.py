# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %%
# ruff: noqa: D100
from scalebook.figures import show, show_table, use_study
from scalebook.figures.profile.utilisation import utilisation
from scalebook.figures.runs import live_curve, step_times
from scalebook.live import report as run_report
from scalebook.live.run import RunView

# %% tags=["parameters"]
study = None  # folder with study.yaml
stem = ""  # the run

# %%
use_study(study)
report = run_report.run_report(stem)
view = RunView(stem, "")
show_table(report.about)

# %% [markdown]
# ## How it ended

# %%
show_table(report.attempts, digits=0, empty="This run was imported: it has no record of its own.")

# %% [markdown]
# ## Curves

# %%
show(live_curve(stem))
show_table(view.epochs, headers=view.headers, digits=view.digits, empty="No epoch has ended yet.")

# %% [markdown]
# ## Steps

# %%
show(step_times(stem))
show_table(report.steps, digits=3, empty="This run recorded no steps.")

# %%
if report.watched:
    show(utilisation(report.job))

# %% [markdown]
# ## Configuration

# %%
show_table(report.configuration, empty="Not known: the run has no record of its own.")

# %% [markdown]
# ## Environment

# %%
show_table(report.environment, empty="Not known: the run has no record of its own.")

# %% [markdown]
# ## Slurm's accounting

# %%
show_table(report.sacct, empty="None: the run was not started by Slurm, or was not collected.")

# %% [markdown]
# ## End of the log

# %%
run_report.show_text(report.log, empty="There is no log.")
