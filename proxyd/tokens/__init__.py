"""Short-lived tokens: how they are had, kept fresh, and what becomes of one that a vendor refuses. Control alone."""
