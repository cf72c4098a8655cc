"""What each stage of dvc.yaml depends on: the import closure of its script, walked.

python tests/closure.py            # what `deps` lack, and have too much
python tests/closure.py --write    # mend dvc.yaml
python tests/closure.py --table    # which stages a change of each file makes stale
python tests/closure.py --picture  # draw the packages' imports in docs/architecture.md

Packages' own files hold nothing but a docstring (a test says so), so they are no dependency.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import grimp
import networkx
import yaml

ROOT = Path(__file__).parent.parent
SOURCE = "src/segscope"
STAGES = ("download", "masks", "train", "predict", "embed", "cluster", "report")
PICTURE_BEGINS, PICTURE_ENDS = "<!-- picture: made by `make architecture` -->", "<!-- end of picture -->"
# Files of the package that are no modules, by the module that reads them.
DATA = {"segscope.report.page": (f"{SOURCE}/report/assets",)}


@cache
def graph() -> grimp.ImportGraph:
    """The package's imports, wherever in a module they stand; those for the type checker alone are none."""
    return grimp.build_graph("segscope", exclude_type_checking_imports=True, cache_dir=None)


def modules_of(script: Path) -> set[str]:
    """The package's modules that a script imports, and those that they do."""
    direct: set[str] = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "segscope":
            own = {f"{node.module}.{alias.name}" for alias in node.names} & graph().modules
            direct |= own or {node.module}
    return direct.union(*(graph().find_upstream_modules(module) for module in direct))


def path_of(module: str) -> str | None:
    """The module's file below the root, None of a package's own."""
    file = f"src/{module.replace('.', '/')}.py"
    return file if (ROOT / file).is_file() else None


def closure(stage: str) -> list[str]:
    """The files that a stage's script is made of, sorted, itself first."""
    modules = modules_of(ROOT / "stages" / f"{stage}.py")
    files = {path for path in map(path_of, modules) if path}
    data = {file for module in modules for file in DATA.get(module, ())}
    return [f"stages/{stage}.py", *sorted(files | data)]


def declared(stage: str) -> list[str]:
    """The stage's code among its `deps`, in order."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    return [dep for dep in deps if dep.startswith(("stages/", "src/"))]


def write() -> None:
    """Put each closure in place of the code among the stage's `deps`; nothing else of dvc.yaml changes."""
    lines, stage, inside = [], None, False
    for line in (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("  ") and line.strip().rstrip(":") in STAGES and not line.startswith("   "):
            stage = line.strip().rstrip(":")
        if inside and line.startswith(("      - src/", "      - stages/")):
            continue
        inside = line == "    deps:" or (inside and line.startswith("      - "))
        lines.append(line)
        if line == "    deps:" and stage:
            lines += [f"      - {file}" for file in closure(stage)]
    (ROOT / "dvc.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def table() -> str:
    """Every file of the package, and the stages that a change of it makes stale."""
    stale = {stage: set(closure(stage)) for stage in STAGES}
    files = sorted(path for path in map(path_of, graph().modules) if path)
    width = max(map(len, files))
    rows = [f"{'file':{width}}  {'  '.join(STAGES)}"]
    for file in files:
        marks = "  ".join(("x" if file in stale[stage] else ".").center(len(stage)) for stage in STAGES)
        rows.append(f"{file:{width}}  {marks}".rstrip())
    return "\n".join(rows)


def picture() -> str:
    """The packages' imports as a Mermaid graph; one that follows from others is left out."""
    packages = networkx.DiGraph()
    for module in graph().modules:
        for imported in graph().find_modules_directly_imported_by(module):
            ends = [name.split(".")[1] for name in (module, imported) if "." in name]
            if len(set(ends)) == 2:
                packages.add_edge(*ends)
    edges = networkx.transitive_reduction(packages).edges
    return "\n".join(["```mermaid", "graph TD", *sorted(f"    {a} --> {b}" for a, b in edges), "```"])


def draw() -> None:
    """Put the picture where docs/architecture.md has it."""
    page = ROOT / "docs" / "architecture.md"
    before, rest = page.read_text(encoding="utf-8").split(PICTURE_BEGINS, 1)
    _, after = rest.split(PICTURE_ENDS, 1)
    page.write_text(f"{before}{PICTURE_BEGINS}\n{picture()}\n{PICTURE_ENDS}{after}", encoding="utf-8")


if __name__ == "__main__":
    if "--picture" in sys.argv:
        draw()
    elif "--write" in sys.argv:
        write()
    elif "--table" in sys.argv:
        print(table())
    else:
        for name in STAGES:
            print(name, sorted(set(closure(name)) ^ set(declared(name))))
