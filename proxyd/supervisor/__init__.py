"""The root process: binds sockets, forks workers, runs control, answers signals and systemd."""
