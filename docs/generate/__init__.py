"""Makes the reference: commands from their parsers, records from their models, the library from its docstrings."""
