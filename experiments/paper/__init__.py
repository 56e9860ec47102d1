"""What the paper and the model zoo print."""
