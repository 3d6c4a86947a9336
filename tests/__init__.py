"""Tests mirror the package; lab holds fakes, e2e real processes."""
