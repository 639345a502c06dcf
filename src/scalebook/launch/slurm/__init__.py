"""Jobs on Slurm: submitting, asking, and what its answers mean."""
