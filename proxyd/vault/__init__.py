"""Where secrets come from: environment, files, commands."""
