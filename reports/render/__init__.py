"""One output format a file: terminal, Markdown, LaTeX, HTML, CSV."""

import unicodedata


def plain(text: str) -> str:
    """Put text on one line and drop control characters, so that no record can steer a terminal or break a row."""
    joined = " ".join(str(text).split())
    return "".join(c for c in joined if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
