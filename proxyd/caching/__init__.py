"""HTTP caching (RFC 9111) without sockets and clocks: what may be kept, what may be answered from it, and with what."""
