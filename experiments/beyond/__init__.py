"""What is asked beyond the paper."""
