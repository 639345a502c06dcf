"""Scalebook: a scaling study you can read, rerun and defend.

The package imports nothing on its own, so that ``scalebook.train`` starts on a
compute node that has torch and torchvision and nothing else.
"""

__version__ = "0.1.0"
