"""One quantity a file: operations counted, memory, time, time per operator."""
