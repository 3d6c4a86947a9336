"""Fakes with real sockets and real processes: origins, a certificate authority, the daemon under test."""
