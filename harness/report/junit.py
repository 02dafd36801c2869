"""reports/<cell>/junit.xml of a cell that got to no contract. Standard library only.

pytest writes the file of all others at their end, in place of this one: a cell whose process was
killed, or which could not start, must not be missing where a CI reads JUnit files.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.report.secrets import without_passwords

JUNIT = "junit.xml"
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_without_contracts(folder: Path, outcome: str, reason: str) -> None:
    """Write one test case that says why the cell has no others."""
    skipped = outcome == "not run"
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", name="pytest", tests="1", failures="0")
    suite.set("skipped" if skipped else "errors", "1")
    case = ET.SubElement(suite, "testcase", classname=folder.name, name="the cell")
    said = NOT_IN_XML.sub("?", without_passwords(reason))
    ET.SubElement(case, "skipped" if skipped else "error", message=said)
    ET.ElementTree(root).write(folder / JUNIT, encoding="utf-8", xml_declaration=True)
