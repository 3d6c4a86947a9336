"""Limits of requests: how many, how fast, for whom; without sockets and without a store."""
