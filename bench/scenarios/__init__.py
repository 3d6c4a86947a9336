"""What is measured: one module a kind of figure, and the table of all."""
