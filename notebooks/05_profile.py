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
# # Profile
#
# **Where does the time of a training step go?**

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here
trace = None  # file in results/profiling to show in detail; None: one of a GPU, else the first
rank = None  # of the trace's run; None: that of the trace
step = None  # to show first; None: the middle one
trials = False  # traces of trial runs in results/local too

# %%
from scalebook import figures

figures.use_study(study)
view = figures.trace_view(trace, everything=trials, rank=rank, step=step)

# %% [markdown]
# ## What holds the run up
#
# Computed from the trace: the figures below show what it rests on.

# %%
view.verdict()

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
# ### Where the two groupings differ
#
# Read a row: it is all the time that one kind of operator takes. Read its colours: that is what
# the kernels are called. What in a row has not the row's own colour is missing from that kind of
# work when kernels are sorted by name. "Batch norm is the bottleneck" needs the rows, not
# the colours.

# %%
figures.show(figures.build("grouping_difference"))

# %% [markdown]
# ## A step from its first event to its last

# %%
figures.show(view.timeline())

# %% [markdown]
# The steps that were recorded; a step that warms up is no measure of the others:

# %%
figures.show_table(
    view.steps(), headers=figures.STEP_HEADERS, digits=2, empty="The trace marks no steps."
)

# %% [markdown]
# ## Waiting

# %%
figures.show(figures.build("idle_breakdown", everything=trials))

# %% [markdown]
# ## What the device could do
#
# Left of the ridge, where the slope meets the flat roof, memory limits an operator; right of it,
# arithmetic does. Read how far below the roof the large points lie.

# %%
figures.show(view.roofline())

# %% [markdown]
# ## Ranks

# %%
figures.show(view.rank_comparison())

# %%
figures.show_table(
    view.collectives(),
    headers=figures.COLLECTIVE_HEADERS,
    digits=figures.COLLECTIVE_DIGITS,
    empty="No collectives of several ranks were recorded.",
)

# %% [markdown]
# ## Utilisation over time

# %%
figures.show(view.utilisation())

# %% [markdown]
# What else was reported of profiled jobs, not verified:

# %%
figures.show_table(figures.reported_use(), empty="Nothing else was reported.")

# %% [markdown]
# ## The numbers

# %%
figures.show_table(
    figures.breakdown_table(),
    headers=figures.BREAKDOWN_HEADERS,
    empty="No profile yet.",
)

# %% [markdown]
# Times in ms of the whole trace. Busy time is the time in which the device did anything at all,
# overlap the time in which communication was hidden behind computation.

# %%
figures.show_table(
    figures.trace_table(everything=trials),
    headers=figures.TRACE_HEADERS,
    empty="No trace is in results/profiling yet.",
)

# %% [markdown]
# ## The traces

# %%
figures.show_traces(everything=trials)
