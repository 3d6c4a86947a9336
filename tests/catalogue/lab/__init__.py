"""What proofs of the catalogue share: doubles of vendors, and a daemon in front of them."""
