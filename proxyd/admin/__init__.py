"""The admin socket (msgpack-RPC) and the admin HTTP address (metrics and probes)."""
