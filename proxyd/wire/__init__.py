"""Bytes to nouns and back, without I/O: heads, framing, hello sniffing, frames between processes."""
