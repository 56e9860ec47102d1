"""The answers in sentences: what was reproduced, what was not, what is new. All of it follows from the records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.records import Comparison
from reports.audit import audit, claims
from reports.audit.readings import Claim
from reports.crossover import answer, curves
from reports.gate import comparisons as paired
from reports.training import runs, verdicts
from reports.training.verdicts import ComparisonResult

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "The records hold nothing of this kind."
STANDS = {
    "reproduced": "reproduced",
    "paper's protocol only": "reproduced by the paper's own procedure alone",
    "not derivable": "not met by any way of counting",
    "not reproduced": "not reproduced by a measurement on a fitting device",
    "not checked here": "not checked, since the records hold no reading of the kind or of the device that they take",
}
WORDS = {"not supported": "speak against", "undecided": "leave undecided", "supported": "support"}


@dataclass(frozen=True, slots=True)
class Section:
    """A question and the sentences that answer it."""

    heading: str
    sentences: tuple[str, ...]


def overview_sections(
    frame: "pd.DataFrame", comparisons: Sequence[Comparison] = ()
) -> tuple[Section, ...]:
    """What was reproduced, what was not and why, and what the documents do not have."""
    judged = [(claim, audit.judge_claim(claim)) for claim in claims.published_claims(frame)]
    studies = [study for study in runs.training_studies(frame) if study.runs]
    held = [(study, list(verdicts.comparison_results(study))) for study in studies]
    reproduced = [
        *_numbers(judged, ("reproduced", "paper's protocol only")),
        *_compared(held, ("supported",)),
    ]
    missed = [
        *_numbers(judged, ("not derivable", "not reproduced", "not checked here")),
        *_compared(held, ("not supported", "undecided")),
    ]
    new = [
        *(
            answer.crossover_answer(study)
            for study in curves.crossover_studies(frame)
            if study.device
        ),
        *(f"{paired.comparison_sentence(comparison)}." for comparison in comparisons),
    ]
    return tuple(
        Section(heading, tuple(said) or (NOTHING,))
        for heading, said in (
            ("What was reproduced", reproduced),
            ("What was not", missed),
            ("What is new", new),
        )
    )


def _numbers(
    judged: Sequence[tuple[Claim, audit.AuditVerdict]], kinds: Sequence[str]
) -> Iterator[str]:
    for kind in kinds:
        places: dict[str, list[str]] = {}
        for claim, verdict in judged:
            if verdict.kind == kind:
                places.setdefault(claim.where, []).append(claim.what.replace(", ", " "))
        count = sum(map(len, places.values()))
        if count:
            listed = "; ".join(f"{where}: {_listed(what)}" for where, what in places.items())
            yield f"{count} of {len(judged)} published efficiency numbers are {STANDS[kind]} ({listed})."


def _compared(
    held: Sequence[tuple[runs.TrainingStudy, Sequence[ComparisonResult]]], kinds: Sequence[str]
) -> Iterator[str]:
    for study, found in held:
        place = verdicts.PLACES.get(study.experiment, study.experiment)
        for kind in kinds:
            titles = [one.comparison.title for one in found if one.verdict == kind]
            if titles:
                # What nobody can tell yet is in the table; here it would hide what can be told.
                which = "" if kind == "undecided" else f": {_listed(titles)}"
                yield (
                    f"Trainings ({study.name or 'as asked'}, {len(study.seeds)} seeds) {WORDS[kind]} "
                    f"{len(titles)} of {len(found)} comparisons that the text makes of {place}{which}."
                )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
