"""Runs a work graph in parallel: every task as early as it can, on as many workers as you allow."""
