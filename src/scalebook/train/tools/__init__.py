"""Programs beside the training loop: all-reduce, peak of the processor, utilisation of devices."""
