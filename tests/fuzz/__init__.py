"""Whatever bytes come from a peer: targets for a coverage-guided fuzzer, and the corpora that run with all tests."""
