"""The local certificate authority: root, name-constrained intermediate, short-lived leaves."""
