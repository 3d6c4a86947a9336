"""Long or heavy proofs that are run by hand or by make, not by the test suite."""
