"""State that outlives a process: one small protocol, SQLite for one machine, Redis or Valkey for a fleet."""
