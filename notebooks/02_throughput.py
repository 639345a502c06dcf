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
# # Throughput
#
# **How many images per second does each configuration train, and how sure is that?**

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here

# %%
from scalebook import analysis, figures

figures.use_study(study)

# %% [markdown]
# ## Configurations side by side
#
# A rank is one of the processes that train together, each with a GPU or cores of its own.
# A configuration is one experiment on one system with one data set and one version of the
# software. Runs that share all of these repeat each other and differ in their seed only. Each
# bar is the median over such runs; the throughput of a run counts all its epochs together. A
# number that was only reported is hatched. Systems never share an axis.

# %%
figures.show(figures.build("throughput_comparison"))

# %% [markdown]
# ## The numbers
#
# Each number is the median of the runs, with its interval in brackets. With six runs and more that
# is the 95 % order-statistic interval, which assumes no distribution; with fewer it goes from the
# smallest to the largest value, and a single run has none.

# %%
figures.show_table(
    analysis.configuration_table(),
    headers=analysis.THROUGHPUT_HEADERS,
    digits=analysis.THROUGHPUT_DIGITS,
    empty="No run with numbers yet.",
)

# %% [markdown]
# ## Steps
#
# A step takes as long as its slowest rank; warm-up steps are left out. The stall ratio, mean over
# median, shows whether some steps waited; data wait is the share of time spent
# waiting for images.

# %%
figures.show_table(
    analysis.step_table(),
    headers=analysis.STEP_HEADERS,
    digits=analysis.STEP_DIGITS,
    empty="No measured run recorded its steps yet.",
)
