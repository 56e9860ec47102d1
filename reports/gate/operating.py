"""Operating characteristic of the harness as a table: false verdicts, and how often a slowdown is found."""

from collections.abc import Sequence

from bench.analysis import exact_interval
from bench.records import Trials
from reports.model import Column, Interval, Table, Value, percent_column, text_column

TRIALS_TEXT = (
    "Shares of comparisons with exact 95 % intervals (Clopper and Pearson). False: FASTER or SLOWER of equal arms, "
    "FASTER of a slowed one, and SAME of one slowed by the margin or more; at the margin itself that is likeliest."
)
NOISE_TEXT = (
    "Simulated: rounds drawn from those that a machine recorded of equal arms, in stretches of successive ones, arms "
    "in another order, and judged by the whole rule. Real: in processes of this machine."
)


def trials_table(trials: Sequence[Trials]) -> Table:
    """False verdicts and detection, a row for each noise and planted share."""
    settings = dict.fromkeys(
        f"margin {100 * each.margin:g} %, level {each.level:g}, {each.most_rounds} rounds at most"
        for each in trials
    )
    return Table(
        name="harness",
        title="Operating characteristic: false verdicts, and slowdowns that are found",
        columns=(
            *map(text_column, ("noise", "how")),
            percent_column("scatter of rounds", 1),
            text_column("planted"),
            Column("comparisons"),
            percent_column("false", 2),
            *(percent_column(name, 1) for name in ("SAME", "SLOWER", "undecided")),
            Column("rounds", digits=1),
            Column("time", "s", 0),
        ),
        rows=tuple(map(_trials_row, trials)),
        caption=f"Fixed beforehand: {'; '.join(settings)}.",
        notes=(TRIALS_TEXT, NOISE_TEXT),
        group_by=(0, 1, 2),
    )


def _trials_row(trials: Trials) -> tuple[Value, ...]:
    wrong = trials.faster
    if trials.planted == 0:
        wrong += trials.slower
    if trials.planted >= trials.margin:
        wrong += trials.same
    return (
        trials.noise,
        "real" if trials.is_real else "simulated",
        trials.scatter,
        f"+{100 * trials.planted:g} %" if trials.planted else "nothing",
        trials.total,
        *(
            _share_interval(count, trials.total)
            for count in (wrong, trials.same, trials.slower, trials.inconclusive)
        ),
        trials.rounds,
        trials.seconds,
    )


def _share_interval(count: int, total: int) -> Interval | None:
    return Interval(count / total, *exact_interval(count, total)) if total else None
