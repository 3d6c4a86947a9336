"""Events and counters: gathered in workers, aggregated and written out in control."""
