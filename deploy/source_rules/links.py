"""Links of the pages, and what they name in backticks: files and types that must exist."""

import fnmatch
import posixpath
import re

from source_rules.rooms import GuardedHeaders
from source_rules.tree import Finding

_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PATH = re.compile(r"[\w.*/+-]+")
_TYPE = re.compile(r"(?:[A-Z][a-z0-9]+){2,}[A-Z]?(?:::[A-Z]\w+)?|[A-Z]\w+::\w+")
_ENDINGS = (".h", ".cc", ".proto", ".cmake")


def prose(tree, page):
    """(line number, line, "" or what stands at the fence around it) of a page; a fence without a word is a "shell"."""
    fenced = ""
    for number, line in enumerate(tree.lines(page), 1):
        if line.lstrip().startswith("```"):
            fenced = "" if fenced else line.strip().strip("`") or "shell"
        else:
            yield number, line, fenced


def anchors(tree, page):
    """The anchors that GitHub gives to the headings of a page."""
    found = set()
    for _, line, fenced in prose(tree, page):
        if fenced or not line.startswith("#"):
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip().replace("`", ""))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return found


def check(tree):
    code = "\n".join(tree.text(path) for path in tree.matching("*.cc", "*.h", "*.proto"))
    words = set(re.findall(r"\w+", code))
    others = GuardedHeaders(tree)
    for page in tree.pages:
        for number, line, fenced in prose(tree, page):
            if fenced:
                continue
            for match in _LINK.finditer(line):
                yield from _check_link(tree, page, number, match.group(1))
            for match in _CODE.finditer(line):
                if not others.row(match.group(1)):
                    yield from _check_code(tree, words, page, number, match.group(1))


def _check_link(tree, page, number, target):
    if re.match(r"[a-z]+:", target):
        return
    path, _, anchor = target.partition("#")
    linked = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    if linked not in tree.files and linked not in tree.folders:
        yield Finding(page, number, "broken link", f"there is no '{linked}'")
    elif anchor and linked.endswith(".md") and anchor not in anchors(tree, linked):
        yield Finding(page, number, "broken link", f"'{linked}' has no heading '#{anchor}'")


def _check_code(tree, words, page, number, text):
    """A path that begins with a folder of the tree or ends like a source; a name of humps such as `RoundMachine`."""
    if _PATH.fullmatch(text) and not _exists(tree, page, text):
        yield Finding(page, number, "broken path", f"there is no '{text}' in the tree")
    if _TYPE.fullmatch(text):
        missing = [part for part in text.split("::") if part not in words]
        if missing:
            yield Finding(page, number, "broken name", f"no source has a '{missing[0]}'")


def _exists(tree, page, text):
    tops = {folder for folder in tree.folders if "/" not in folder}
    path = text.rstrip("/")
    if "/" in path and path.split("/")[0] in tops:
        candidates = [path, posixpath.join(posixpath.dirname(page), path)]
        return any(fnmatch.filter(tree.files + tree.folders, candidate) for candidate in candidates)
    if path.endswith(_ENDINGS) and not path.startswith((".", "/")):
        return bool(fnmatch.filter(tree.files, "*/" + path)) or path in tree.files
    return True
