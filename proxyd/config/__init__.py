"""YAML files to validated models; every mistake is reported at once, with its place."""
