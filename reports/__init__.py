"""Records in, tables and figures out; loads without torch."""
