"""The nouns: plain values and pure decisions. Standard library only; no trio, no sockets, no logging."""
