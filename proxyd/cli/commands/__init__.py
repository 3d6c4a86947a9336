"""The commands: words and what each one calls; a module of them has ``add(commands)`` and imports nothing heavy."""
