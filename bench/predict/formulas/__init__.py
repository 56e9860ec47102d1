"""What operators do: a formula each, or the word that they only move data."""

from bench.predict.formulas.attention import ATTENTIONS, ATTENTIONS_BACKWARD, OURS
from bench.predict.formulas.call import (
    Call,
    Product,
    Work,
    is_sparse,
    plain_name,
    short_name,
    stored,
)
from bench.predict.formulas.convolutions import CONVOLUTIONS, CONVOLUTIONS_BACKWARD
from bench.predict.formulas.elementwise import MOVES, VIEWS
from bench.predict.formulas.products import PRODUCTS
from bench.predict.formulas.work import (
    COUNTS,
    FORMULAS,
    depends_on_values,
    find_formula,
    is_free,
    work_of,
)
