"""What runs write: records, comparisons, outcomes and their files."""
