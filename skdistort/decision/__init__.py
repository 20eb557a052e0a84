"""From scores to decisions: what estimators that verify pairs share, and where they decide."""
