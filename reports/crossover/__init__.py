"""From which size one block beats another: curves, exponents, crossing."""

from reports.crossover.answer import crossover_answer
from reports.crossover.curves import CROSSOVER, crossover_studies
from reports.crossover.gallery import gallery_tables
from reports.crossover.speedups import speedup_answers
