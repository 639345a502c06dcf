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
# # Accuracy
#
# **Does what makes training faster, such as more ranks or a lower precision, cost accuracy?**

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here

# %%
from scalebook import analysis, figures

figures.use_study(study)

# %% [markdown]
# ## Accuracy over epochs
#
# Measured runs have a curve: the share of the validation set that the model labels rightly after
# each epoch. A run that was only reported has a final value; no curve is drawn for it, because
# none was reported. A rank is one of the processes that train together.

# %%
figures.show(figures.build("accuracy_curves"))

# %% [markdown]
# ## The numbers
#
# Medians of the runs, with their intervals in brackets.
# The final accuracy is that of the last epoch, the best that of the best epoch. Choosing the best
# epoch by validation accuracy flatters a run, so comparisons use the final one. Two
# configurations differ only where their intervals do not overlap; with few runs even that is a hint
# and no proof.

# %%
figures.show_table(
    analysis.configuration_table(),
    headers=analysis.ACCURACY_HEADERS,
    digits=2,
    empty="No run with numbers yet.",
)
