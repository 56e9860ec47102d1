"""The questions, as data: one file for each table or figure."""
