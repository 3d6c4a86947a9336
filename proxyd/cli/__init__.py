"""Argument parsing and the words a person reads; nothing else."""
