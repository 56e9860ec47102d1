"""The answers in sentences: what was reproduced, what was not, what is new. All of it follows from the records."""

from collections.abc import Iterator, Sequence

from bench.records import Comparison
from reports import training
from reports.audit import AuditVerdict, Claim, judge_claim, published_claims
from reports.crossover import crossover_answer, crossover_studies
from reports.gate import comparison_sentence
from reports.model import Frame, Section, grouped
from reports.training import ComparisonResult, TrainingStudy

NOTHING = "The records hold nothing of this kind."
STANDS = {
    "reproduced": "reproduced",
    "paper's protocol only": "reproduced by the paper's own procedure alone",
    "not derivable": "not met by any way of counting",
    "not reproduced": "not reproduced by a measurement on a fitting device",
    "not checked here": "not checked, since the records hold no reading of the kind or of the device that they take",
}
VERDICT_WORDS = {
    "not supported": "speak against",
    "undecided": "leave undecided",
    "supported": "support",
}


def overview_sections(frame: Frame, comparisons: Sequence[Comparison] = ()) -> tuple[Section, ...]:
    """What was reproduced, what was not and why, and what the documents do not have."""
    verdicts = [(claim, judge_claim(claim)) for claim in published_claims(frame)]
    studies = [study for study in training.training_studies(frame) if study.runs]
    results = [(study, list(training.comparison_results(study))) for study in studies]
    answers = {
        "What was reproduced": (
            *_number_sentences(verdicts, ("reproduced", "paper's protocol only")),
            *_comparison_sentences(results, ("supported",)),
        ),
        "What was not": (
            *_number_sentences(verdicts, ("not derivable", "not reproduced", "not checked here")),
            *_comparison_sentences(results, ("not supported", "undecided")),
        ),
        "Which parts bring what?": tuple(_accuracy_sentences(studies)),
        "What is new": (
            *(crossover_answer(study) for study in crossover_studies(frame) if study.device),
            *(f"{comparison_sentence(comparison)}." for comparison in comparisons),
        ),
    }
    return tuple(Section(heading, texts or (NOTHING,)) for heading, texts in answers.items())


def _accuracy_sentences(studies: Sequence[TrainingStudy]) -> Iterator[str]:
    for alike in training.studies_by_setting(studies):
        about = f"{alike[0].name or 'as asked'}, {max(len(study.seeds) for study in alike)} seeds"
        yield from (f"{answer[:-1]} ({about})." for answer in training.accuracy_answers(alike))


def _number_sentences(
    verdicts: Sequence[tuple[Claim, AuditVerdict]], kinds: Sequence[str]
) -> Iterator[str]:
    for kind in kinds:
        claims = [claim for claim, verdict in verdicts if verdict.kind == kind]
        places = grouped(claims, lambda claim: claim.where)
        listed = "; ".join(
            f"{where}: {', '.join(dict.fromkeys(claim.what.replace(', ', ' ') for claim in same))}"
            for where, same in places.items()
        )
        if claims:
            of = f"{len(claims)} of {len(verdicts)} published efficiency numbers"
            yield f"{of} are {STANDS[kind]} ({listed})."


def _comparison_sentences(
    results: Sequence[tuple[TrainingStudy, Sequence[ComparisonResult]]], kinds: Sequence[str]
) -> Iterator[str]:
    for study, of_study in results:
        place = training.place_of(study.experiment)
        for kind in kinds:
            titles = [result.comparison.title for result in of_study if result.verdict == kind]
            if titles:
                # What is undecided is in the table; here it would hide the others.
                which = "" if kind == "undecided" else f": {', '.join(dict.fromkeys(titles))}"
                yield (
                    f"Trainings ({study.name or 'as asked'}, {len(study.seeds)} seeds) {VERDICT_WORDS[kind]} "
                    f"{len(titles)} of {len(of_study)} comparisons that the text makes of {place}{which}."
                )
