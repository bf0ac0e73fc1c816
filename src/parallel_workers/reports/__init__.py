"""What people are shown of a run. Everything here reads events, and nothing else."""
