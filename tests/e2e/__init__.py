"""The daemon as its users meet it: real processes, real clients, real sockets."""
