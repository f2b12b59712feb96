"""How long a function, a file and a line may be, and how many files a folder may have."""

import collections
import posixpath
import re

from source_rules import cxx
from source_rules.tree import Finding, table_rows

PAGE = "CONTRIBUTING.md"
_CODE = (".cc", ".h", ".proto", ".py")


class _Judge:
    """Compares what was found with the page's limit or exception; knows at the end which exceptions nobody needs."""

    def __init__(self, tree):
        self.limits = {cells[0]: int(re.match(r"\d+", cells[1]).group()) for _, cells in table_rows(tree, PAGE, "size")}
        self.exceptions = {(cells[0].strip("`").rstrip("/"), cells[1]): (int(re.match(r"\d+", cells[2]).group()), line)
                           for line, cells in table_rows(tree, PAGE, "exception")}
        self.needed = set()

    def findings(self, path, line, size, found, advice):
        limit = self.limits[size]
        if found <= limit:
            return
        self.needed.add((path, size))
        allowed = self.exceptions.get((path, size), (limit, 0))[0]
        if found > allowed:
            yield Finding(path, line, f"size of {size}", f"{found}, at most {allowed}: {advice}")

    def idle(self):
        for (path, size), (_, line) in self.exceptions.items():
            if (path, size) not in self.needed:
                yield Finding(PAGE, line, f"size of {size}", f"{path} needs its exception no more: remove the row")


def _is_code(tree, path):
    return path.endswith(_CODE) or tree.text(path).startswith("#!/usr/bin/env python3")


def check(tree):
    judge = _Judge(tree)
    for path in tree.cxx:
        yield from _check_file(tree, judge, path)
        yield from _check_functions(tree, judge, path)
    for path in tree.files:
        if path.startswith("tests/data/") or path.startswith("tests/fuzz/corpus/") or path.endswith(".gguf"):
            continue
        if not _is_code(tree, path):
            continue
        for number, line in enumerate(tree.lines(path), 1):
            yield from judge.findings(path, number, "a line", len(line), "break it")
    yield from _check_folders(tree, judge)
    yield from judge.idle()


def _check_file(tree, judge, path):
    size = "a header" if path.endswith(".h") else "a source"
    lines = tree.text(path).count("\n")
    yield from judge.findings(path, lines, size, lines, "look for the two files in it")


def _check_functions(tree, judge, path):
    try:
        found = cxx.functions(tree.text(path))
    except ValueError as error:
        yield Finding(path, 1, "size of a function", f"functions cannot be told apart: {error}")
        return
    for first, last in found + cxx.macros(tree.text(path)):
        yield from judge.findings(path, first, "a function", last - first + 1, "take the steps out that have a name")


def _check_folders(tree, judge):
    count = collections.Counter(posixpath.dirname(path) for path in tree.files)
    for folder, files in sorted(count.items()):
        if folder and not folder.startswith(("tests/data", "tests/fuzz/corpus")):
            yield from judge.findings(folder, 1, "a folder", files, "look for the two rooms in it")
