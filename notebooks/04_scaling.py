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
# # Scaling
#
# **How much faster does training become with more ranks, and do the reported numbers agree?**

# %% tags=["parameters"]
study = None  # folder with study.yaml; None: found from here

# %%
from scalebook import analysis, figures, values

figures.use_study(study)

# %% [markdown]
# ## Efficiency against the ideal
#
# A rank is one of the processes that train together. Parallel efficiency is the speed-up divided by
# the growth in ranks: 100 % means that twice the ranks train twice as fast. Strong scaling keeps
# the global batch, the images of a step over all ranks, and weak scaling the batch of each rank.
# Efficiency can be formed from throughput, $X_p / (p X_1)$, or from the time per epoch and its
# images, $(T_1 / I_1) / (p T_p / I_p)$. The two agree when every epoch trains on all its images, so
# both are shown. Read down a group: how far the rows of two nodes fall behind the row of one node
# is the price of the link.

# %%
figures.show(figures.build("scaling_efficiency"))

# %% [markdown]
# ## Network or parallel overhead?
#
# Two ranks on one node pay for parallel training without a network; two nodes add the network.
# Read the end of a bar against the upright line, which is no measurement: it is where the step
# would end if the gradients took exactly the time the link needs and nothing hid it. The table
# lacks a part where no control with the same batch of a rank ran beside it.

# %%
figures.show(figures.build("overheads"))

# %%
figures.show_table(
    analysis.overheads(),
    headers=analysis.OVERHEAD_HEADERS,
    digits=analysis.OVERHEAD_DIGITS,
    empty="No run on more nodes than its reference yet.",
)

# %% [markdown]
# ## The links alone
#
# An all-reduce without any training shows what a link can give: read where a curve levels off, and
# how close to the dashed rate of its link; left of that, latency decides.

# %%
figures.show(figures.build("allreduce_bandwidth"))

# %% [markdown]
# ## The numbers
#
# A ratio is formed only between runs with the same system, device, data, model, epochs and torch
# version, block by block where both sides ran in the same blocks; under weak scaling the images may
# grow with the ranks. The value of the reference, in images per second or in seconds, stands beside
# each ratio, whose interval is in brackets.

# %%
figures.show_table(
    analysis.scaling_table(),
    headers=analysis.SCALING_HEADERS,
    digits=analysis.SCALING_DIGITS,
    empty="No two comparable runs yet.",
)

# %% [markdown]
# ### The control against itself
#
# A control never uses the link, so its efficiency on one system over that on another is 1 but for
# chance: *A/A*. Below each stand the experiments that do use the link: *A/B*. Read whether an A/B
# ratio lies further from 1 than the A/A ratio of the same pair. Each is formed within a block.

# %%
figures.show_table(
    analysis.contrasts(),
    headers=analysis.CONTRAST_HEADERS,
    digits=analysis.CONTRAST_DIGITS,
    empty="No control was measured on two systems in the same blocks yet.",
)

# %% [markdown]
# ### Comparisons that were refused

# %%
figures.show_table(analysis.refused(), empty="None.")

# %% [markdown]
# ## Do the reported numbers agree with each other?
#
# Each reported number is held against the others, against the peak of the device, and against
# the job's own file once that is there. *Contradicted* means that two statements
# cannot both be true, not which of them is wrong; the last column names the file that would decide.

# %%
figures.show_table(
    values.check(),
    headers=analysis.CHECK_HEADERS,
    empty="Nothing is reported in data/reported.",
)
