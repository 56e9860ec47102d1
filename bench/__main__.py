"""Say what there is: `python -m bench`."""

import sys

TEXT = """\
python -m bench.efficiency --size 256x128   measure blocks, by name or your own, against the paper's Table 1
python -m bench.efficiency --compare A B    run two arms by turns and say which is faster, and how surely
python -m bench.ablations                   run every experiment and render the report (nox -s ablations)
python -m bench.regress --base main         whether a change made it worse: exact gates, then time by turns
python -m bench.reference --out DIR         what to run on a new device, in order of worth, within a time; --look first
python -m bench.validate DIR                how far estimated GPU times are from kernels that others timed
python -m reports DIR --out DIR2            render tables, figures and the page from records alone

Each has --help.
"""

if __name__ == "__main__":
    sys.stdout.write(TEXT)
