"""How every network of the package is trained: batches, one loop, and what estimators share."""
