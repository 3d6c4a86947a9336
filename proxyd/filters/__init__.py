"""One concern of an exchange per file; worker/assemble.py says which run, and in which order."""
