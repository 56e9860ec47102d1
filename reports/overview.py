"""The answers in sentences, by question. All of it follows from the records."""

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.records import Comparison
from reports import training
from reports.audit import AuditVerdict, Claim, judge_claim, published_claims
from reports.crossover import crossover_answer, crossover_studies, speedup_answers
from reports.gate import comparison_sentence
from reports.model import Frame, Section, grouped
from reports.training import TrainingStudy

STANDS = {
    "reproduced": "reproduced",
    "paper's protocol only": "reproduced by the paper's own procedure alone",
    "not derivable": "not met by any way of counting",
    "not reproduced": "not reproduced by a measurement on a fitting device",
    "not checked here": "not checked, since the records hold no reading of the kind or of the device that they take",
}
VERDICT_WORDS = {
    "supported": "support",
    "not supported": "speak against",
    "undecided": "leave undecided",
}


def overview_sections(frame: Frame, comparisons: Sequence[Comparison] = ()) -> tuple[Section, ...]:
    """Each question that the records answer, with what a reader unfolds; what they don't answer is left out."""
    studies = [study for study in training.training_studies(frame) if study.runs]
    sections = (
        Section(
            "Is asymmetric sampling (APNB) still worth it where full attention (NB) is fused?",
            tuple(
                # Without the question, which the heading asks.
                crossover_answer(study).partition("? ")[2]
                for study in crossover_studies(frame)
                if study.device
            ),
        ),
        Section("How much faster is the fast path?", tuple(speedup_answers(frame))),
        Section(
            "Which of two versions is faster?",
            tuple(f"{comparison_sentence(comparison)}." for comparison in comparisons),
        ),
        Section(
            "Does accuracy change as the paper says?",
            tuple(_training_counts(studies)),
            tuple(_accuracy_sentences(studies)),
        ),
        _published_section(frame),
    )
    return tuple(section for section in sections if section.sentences)


def _published_section(frame: Frame) -> Section:
    """How many published numbers hold; nothing where the records check none of them."""
    verdicts = [(claim, judge_claim(claim)) for claim in published_claims(frame)]
    kinds = [verdict.kind for _, verdict in verdicts]
    counts = {kind: kinds.count(kind) for kind in STANDS if kind in kinds}
    heading = "Do the published efficiency numbers hold?"
    if counts.keys() <= {"not checked here"}:
        return Section(heading, ())
    words = "; ".join(f"{count} {STANDS[kind]}" for kind, count in counts.items())
    return Section(
        heading,
        (f"Of {len(kinds)} published efficiency numbers: {words}.",),
        tuple(_number_sentences(verdicts, tuple(STANDS))),
    )


def _training_counts(studies: Sequence[TrainingStudy]) -> Iterator[str]:
    for study in studies:
        results = list(training.comparison_results(study))
        counts = Counter(str(result.verdict) for result in results)
        words = [f"{word} {counts[kind]}" for kind, word in VERDICT_WORDS.items() if counts[kind]]
        if words:
            yield (
                f"Trainings ({study.name or 'as asked'}, {len(study.seeds)} seeds) {_listed(words)} of the "
                f"{len(results)} comparisons that the text makes of {training.place_of(study.experiment)}."
            )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


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
