"""Lines of a run's log that are neither DVC's nor segscope's: `python tests/foreign_lines.py LOG` fails if one is."""

import re
import sys
from pathlib import Path

STAGE = r"(download|masks|train|predict|embed|cluster|report)"
OWN = (
    # segscope's
    rf"{STAGE}: .+",
    r"(warning|error): .+",
    r"Open reports/index\.html in a browser\.",
    # DVC's
    r"",
    rf"Running stage '{STAGE}':",
    rf"> env PYTHONPATH=src python stages/{STAGE}\.py",
    rf"Stage '{STAGE}' (didn't change, skipping|is cached - skipping run, checking out outputs)",
    r"(Generating|Updating) lock file 'dvc\.lock'",
    r"To (track the changes with git|enable auto staging), run:",
    r"\t(git add|dvc config core\.autostage) .+",
    r"Use `dvc push` to send your updates to remote storage\.",
    r"Data and pipelines are up to date\.",
    r"Reproducing experiment '.+'",
    r"Ran experiment\(s\): .+",
    r"Experiment results have been applied to your workspace\.",
)
_OWN = re.compile("|".join(OWN))


def foreign_lines(log: str) -> list[str]:
    """The lines that are none of OWN's."""
    return [line for line in log.splitlines() if not _OWN.fullmatch(line)]


if __name__ == "__main__":
    found = foreign_lines(Path(sys.argv[1]).read_text())
    print(*found, sep="\n")
    sys.exit(f"{len(found)} lines are neither DVC's nor segscope's" if found else None)
