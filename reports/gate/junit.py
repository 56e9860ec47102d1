"""An outcome as JUnit XML, which CI systems show as tests: a regression is a failure, a control an error."""

from xml.etree import ElementTree as ET

from bench.records import Control, Finding, Outcome, worst_first
from reports.gate.wording import finding_sentence
from reports.model import plain

SKIPPED = ("INCONCLUSIVE", "NEW", "SHOWN")
SUITES = ("exact", "time", "memory")


def to_junit(outcome: Outcome) -> str:
    """Write a suite each for the exact gates, time, memory and the controls."""
    root = ET.Element("testsuites", name="bench.regress", time=f"{outcome.seconds:.3f}")
    findings = worst_first(outcome.findings)
    for kind in SUITES:
        _add_suite(root, kind, [_test_case(each) for each in findings if each.kind == kind])
    _add_suite(root, "controls", [_control_case(control) for control in outcome.controls])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(root: ET.Element, name: str, cases: list[ET.Element]) -> None:
    if not cases:
        return
    counts = {
        word: str(sum(case.find(tag) is not None for case in cases))
        for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite = ET.SubElement(root, "testsuite", {"name": name, "tests": str(len(cases)), **counts})
    suite.extend(cases)


def _test_case(finding: Finding) -> ET.Element:
    case = ET.Element("testcase", classname=plain(finding.cell), name=plain(finding.quantity))
    verdict, reason = finding.verdict, finding.reason
    message = plain(finding_sentence(finding))
    if finding.is_worse:
        ET.SubElement(case, "failure", type=verdict, message=message).text = plain(reason)
    elif verdict in SKIPPED:
        ET.SubElement(case, "skipped", message=plain(f"{verdict}: {reason}"))
    else:
        ET.SubElement(case, "system-out").text = plain(f"{message}. {reason}")
    return case


def _control_case(control: Control) -> ET.Element:
    case = ET.Element("testcase", classname=plain(control.cell), name=control.name)
    if not control.holds:
        message = f"has to read {control.expected} and reads {control.verdict}"
        error = ET.SubElement(case, "error", type="control", message=message)
        error.text = plain(control.reason)
    return case
