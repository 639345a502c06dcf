# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Scalebook
#     language: python
#     name: scalebook
# ---

# %% [markdown]
# # A training run
#
# **How does one training run go, from its first epoch to its last?**
#
# With `submit=True` this notebook starts a run and follows it to its end, or follows the one of
# the same settings that is under way. Without, it shows the newest finished run of the
# experiment, or of any experiment if that one has not been run yet. A book build never starts
# a run.

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here
experiment = "quick"
system = "auto"  # one of study.yaml; auto: where a run can start, or any that ran
seed = None  # None: the first seed of the study, or any that ran
overrides = {}  # settings that a run started here changes, as {"epochs": 3}
submit = False
job = None  # id of a job to follow

# %%
from scalebook import figures, live

run = live.run_or_attach(
    experiment,
    system=system,
    seed=seed,
    submit=submit,
    overrides=overrides,
    study_root=study,
    job=job,
)

# %% [markdown]
# ## What was run
#
# The record that the training process wrote itself: what was asked for, on which machine, with
# which data and software.

# %%
figures.show_table(run.about, empty=run.message)

# %% [markdown]
# ## Loss, accuracy and throughput
#
# One point an epoch. Accuracy is measured on the whole validation set after each epoch.
# Throughput counts the images of all ranks; warm-up steps and validation are not timed.

# %%
figures.show(run.figure())

# %% [markdown]
# ## Epochs

# %%
figures.show_table(run.epochs, run.headers, digits=run.digits, empty=run.message)

# %% [markdown]
# ## Steps
#
# A step takes as long as its slowest rank. The stall ratio is mean over median step time: well
# above 1 means that some steps waited. Data wait is the share of the time in which a
# rank waited for images.

# %%
figures.show_table(run.steps, digits=3, empty="No steps were recorded.")

# %% [markdown]
# Every run there is, trials included, stands in [the explorer](../book/runs.md).
