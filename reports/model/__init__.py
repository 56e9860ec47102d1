"""Rows and tables: frame, columns, values."""
