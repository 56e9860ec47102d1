r"""Tables in LaTeX with booktabs.

The preamble needs `\usepackage[T1]{fontenc}` and `\usepackage{array,booktabs,graphicx}`; a table wider than the
text is made smaller, never larger.
"""

import re
import textwrap

from reports.model import Column, LaidCell, Table, lay_out, plain

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
    "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
    "\N{DOWNWARDS ARROW}": r"\ensuremath{\downarrow}",
    "\N{ALMOST EQUAL TO}": r"\ensuremath{\approx}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Write text so that LaTeX prints it; a letter that pdflatex has not is named by its number."""
    escaped = "".join(_ESCAPES.get(c) or _letter(c) for c in plain(text))
    # Two hyphens would become a dash, two quotes or a question mark before a grave accent another sign.
    return re.sub(r"([-'?!,])(?=[-'`,])", r"\1{}", escaped)


def _letter(character: str) -> str:
    # Latin-1 letters are in the T1 encoding.
    known = character.isascii() or (character.isalpha() and ord(character) < 0x100)
    return character if known else f"{{[}}U+{ord(character):04X}{{]}}"


def to_latex(table: Table) -> str:
    """Write one floating table with its caption, notes and label."""
    layout = lay_out(table)
    title = table.title if table.title.endswith(".") else f"{table.title}."
    caption = " ".join(filter(None, (escape_latex(title), escape_latex(table.caption))))
    lines = [
        r"\begin{table}[htbp]",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{''.join(c for c in table.name if c.isalnum() or c == '-')}}}",
        r"  \footnotesize",
        r"  \setlength{\tabcolsep}{4pt}",
        r"  \resizebox{\ifdim\width>\linewidth \linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{@{{}}{''.join(map(_column_type, table.columns))}@{{}}}}",
        r"    \toprule",
        f"    {' & '.join(_latex_heading(column) for column in table.columns)} \\\\",
        r"    \midrule",
    ]
    for index, row in enumerate(layout.rows):
        lines += [r"    \addlinespace"] if index in layout.starts else []
        lines.append(f"    {' & '.join(map(_latex_cell, row, table.columns))} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}}"]
    for label, note in layout.notes:
        mark = rf"\textsuperscript{{{label}}} " if label else ""
        lines.append(rf"  \par\smallskip\parbox{{\linewidth}}{{{mark}{escape_latex(note)}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _column_type(column: Column) -> str:
    if column.wide:
        return r">{\raggedright\arraybackslash}p{0.19\linewidth}"
    return "l" if column.align == "left" else "r"


def _latex_heading(column: Column) -> str:
    """Name, source and unit on lines of their own, so that wide tables stay narrow."""
    named = textwrap.wrap(column.name, 10, break_long_words=False)
    lines = [escape_latex(line) for line in (*named, column.source, column.unit) if line]
    stacked = r" \\ ".join(lines)
    inner = rf"\begin{{tabular}}[b]{{@{{}}{_column_type(column)}@{{}}}}{stacked}\end{{tabular}}"
    return stacked if len(lines) == 1 else inner


def _latex_cell(cell: LaidCell, column: Column) -> str:
    text = escape_latex(cell.text)
    # Names of operators are longer than a line of a column that wraps.
    text = text.replace(r"\_", r"\_\allowbreak{}") if column.wide else text
    text = rf"\textbf{{{text}}}" if cell.best else text
    return rf"{text}\textsuperscript{{{cell.label}}}" if cell.label else text
