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

# %% [markdown]
# # Profile
#
# **Where does the time of a training step go?**

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here
trials = False  # traces of trial runs in results/local too

# %%
from scalebook import figures

figures.use_study(study)

# %% [markdown]
# ## Device time by kind of work
#
# The same time can be sorted in two ways: by the *name* of the kernel that ran, or by
# the *operator* that launched it. They answer different questions. Most of a convolution runs in
# kernels that are called after a matrix product or a gradient, so sorted by name it
# looks small. A reported breakdown is shown as it was reported, hatched.

# %%
figures.show(figures.build("profiling_breakdown"))

# %% [markdown]
# ## The numbers

# %%
figures.show_table(
    figures.breakdown_table(),
    headers=figures.BREAKDOWN_HEADERS,
    empty="No profile yet: record one with `scalebook run profile`.",
)

# %% [markdown]
# What else was reported of these jobs, not verified:

# %%
figures.show_table(figures.reported_use(), empty="Nothing else was reported.")

# %% [markdown]
# ## Traces
#
# Busy time is the time in which the device did anything at all, overlap the time in which
# communication was hidden behind computation.

# %%
figures.show_table(
    figures.trace_table(everything=trials),
    headers=figures.TRACE_HEADERS,
    empty="No trace is in results/profiling yet.",
)
