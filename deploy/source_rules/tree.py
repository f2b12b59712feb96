"""The files of the repository as the rules see them, and what a rule says of one of them."""

import dataclasses
import fnmatch
import functools
import pathlib
import subprocess


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    advice: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.advice}"


class Tree:
    """What git tracks, and what it does not ignore: a file that is about to be added counts."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                cwd=root, check=True, capture_output=True, text=True).stdout
        self.files = sorted({name for name in listed.split("\0") if name and (self.root / name).is_file()})
        self.folders = sorted({str(parent) for name in self.files
                               for parent in pathlib.PurePosixPath(name).parents if str(parent) != "."})

    def matching(self, *patterns):
        return [name for name in self.files if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]

    @functools.cached_property
    def cxx(self):
        return self.matching("*.cc", "*.h")

    @functools.cached_property
    def pages(self):
        return [name for name in self.matching("*.md") if not name.startswith("tests/data/")]

    @functools.lru_cache(maxsize=None)
    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def lines(self, name):
        return self.text(name).split("\n")


def table_rows(tree, page, first_column):
    """The rows of the page's table whose header begins with `first_column`: [(line number, [cells])]."""
    rows, inside = [], False
    for number, line in enumerate(tree.lines(page), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            if inside:
                break
        elif inside:
            if not set(cells[0]) <= set("-: "):
                rows.append((number, cells))
        elif cells[0] == first_column:
            inside = True
    return rows
