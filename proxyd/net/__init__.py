"""Sockets: streams, TLS, dialling, resolving, accepting, and the reaper that ends what is late."""
