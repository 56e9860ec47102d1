"""Text from records made safe: on one line, or as a file name."""

import unicodedata


def plain(text: str) -> str:
    """Put text on one line and drop control characters, so that no record can steer a terminal or break a row."""
    joined = " ".join(str(text).split())
    # Nearly always so, and much quicker than a look at each letter.
    if joined.isprintable():
        return joined
    return "".join(c for c in joined if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


def slug(*parts: str) -> str:
    """Make a file name of letters, digits and hyphens, whatever a record says."""
    joined = " ".join(parts).lower()
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in joined).split())
