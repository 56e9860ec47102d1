"""From which size one block beats another: curves, exponents, crossing."""
