"""What a cell executes: module, inputs, number format, one call."""
