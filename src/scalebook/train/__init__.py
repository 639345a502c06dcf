"""One training process: dataset, model, loop, metrics, profiler.

Run it with ``python -m scalebook.train --experiment RESOLVED.json``, alone or
under ``torchrun``. Besides `scalebook.contract` it needs torch, torchvision,
numpy and Pillow only, so that it runs on a bare compute node and in an old
container (Python 3.9, torch 2.0).
"""
