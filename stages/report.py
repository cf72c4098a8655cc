"""report: one folder that shows what the earlier stages found."""

from segscope import stage
from segscope.artefacts.files import atomic_folder
from segscope.artefacts.measures import measure_table
from segscope.report.findings import read_findings
from segscope.report.page import write_report
from segscope.run import Run


def main(run: Run) -> None:
    findings = read_findings(run)
    with atomic_folder(run.path("report")) as folder:
        shown = write_report(findings, folder)
    run.write_measures("report", measure_table(shown))


if __name__ == "__main__":
    stage.main(main)
