"""An outcome as JUnit XML, which CI systems show as tests: a regression is a failure, a control an error."""

from xml.etree import ElementTree as ET

from bench.records import Control, Finding, Outcome, worst_first
from reports.gate.findings import sentence
from reports.render import plain

SKIPPED = ("INCONCLUSIVE", "NEW", "SHOWN")
SUITES = ("exact", "time", "memory")


def render(outcome: Outcome) -> str:
    """Write a suite each for the exact gates, time, memory and the controls."""
    root = ET.Element("testsuites", name="bench.regress", time=f"{outcome.seconds:.3f}")
    for kind in SUITES:
        found = [one for one in worst_first(outcome.findings) if one.kind == kind]
        _suite(root, kind, [_case(one) for one in found])
    _suite(root, "controls", [_control(one) for one in outcome.controls])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, name: str, cases: list[ET.Element]) -> None:
    if not cases:
        return
    counts = {
        word: str(sum(case.find(tag) is not None for case in cases))
        for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    about = {"name": name, "tests": str(len(cases)), **counts}
    suite = ET.SubElement(root, "testsuite", about)
    suite.extend(cases)


def _case(one: Finding) -> ET.Element:
    case = ET.Element("testcase", classname=plain(one.cell), name=plain(one.quantity))
    said = plain(sentence(one))
    if one.is_worse:
        ET.SubElement(case, "failure", type=one.verdict, message=said).text = plain(one.reason)
    elif one.verdict in SKIPPED:
        ET.SubElement(case, "skipped", message=plain(f"{one.verdict}: {one.reason}"))
    else:
        ET.SubElement(case, "system-out").text = plain(f"{said}. {one.reason}")
    return case


def _control(one: Control) -> ET.Element:
    case = ET.Element("testcase", classname=plain(one.cell), name=one.name)
    if not one.holds:
        message = f"has to read {one.expected} and reads {one.verdict}"
        ET.SubElement(case, "error", type="control", message=message).text = plain(one.reason)
    return case
