"""Vaults elsewhere: secrets that others keep, read by control and followed."""
