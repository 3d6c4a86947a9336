"""YAML files that people write, read into validated values: places, words for mistakes, forms of values."""
