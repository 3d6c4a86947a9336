"""Credential schemes: each changes one attempt's request so that it carries its secret."""
