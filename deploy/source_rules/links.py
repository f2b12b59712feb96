"""Links of the pages, and what they name in backticks: files and types that must exist."""

import fnmatch
import posixpath
import re

from source_rules.rooms import GuardedHeaders
from source_rules.tree import Finding

# The end of a link, since its text may begin on the line before; a definition, [name]: target; HTML.
_LINK = re.compile(r"\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)*)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)"
                   r"|^\s*\[[^\]^]+\]:\s*<?([^\s>]+)"
                   r"|<(?:a|img|source)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PATH = re.compile(r"[\w.*/+-]+")
_TYPE = re.compile(r"(?:[A-Z][a-z0-9]+){2,}[A-Z]?(?:::[A-Z]\w+)?|[A-Z]\w+::\w+")
_ENDINGS = (".h", ".cc", ".proto", ".cmake")
_FENCE = re.compile(r"\s*(?:>\s*)?(`{3,}|~{3,})\s*([\w+-]*)[^`]*$")
_SHELLS = ("", "bash", "sh", "console", "shell")


def prose(tree, page):
    """(line number, line, "" or what stands at the fence around it) of a page; a fence without a word is a "shell"."""
    fence, fenced = "", ""
    for number, line in enumerate(tree.lines(page), 1):
        match = _FENCE.match(line)
        if match and not fence:
            fence, fenced = match.group(1), "shell" if match.group(2) in _SHELLS else match.group(2)
        elif match and match.group(1).startswith(fence) and not match.group(2):
            fence, fenced = "", ""
        else:
            yield number, line, fenced


def anchors(tree, page):
    """The anchors that GitHub gives to the headings of a page."""
    found = set()
    for _, line, fenced in prose(tree, page):
        found |= set() if fenced else set(re.findall(r"<a (?:id|name)=[\"']([^\"']+)", line))
        if fenced or not line.startswith("#"):
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip().replace("`", ""))
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = sum(name == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", name) is not None for name in found)
        found.add(f"{slug}-{again}" if slug in found else slug)
    return found


def check(tree):
    code = "\n".join(tree.text(path) for path in tree.matching("*.cc", "*.h", "*.proto"))
    words = set(re.findall(r"\w+", code))
    others = GuardedHeaders(tree)
    for page in tree.pages:
        for number, line, fenced in prose(tree, page):
            if fenced:
                if fenced == "shell":
                    yield from _check_script(tree, page, number, line)
                continue
            for match in _LINK.finditer(_CODE.sub("``", line)):
                yield from _check_link(tree, page, number, match.group(match.lastindex))
            for match in _CODE.finditer(line):
                if not others.row(match.group(1)):
                    yield from _check_code(tree, words, page, number, match.group(1))
        if fenced:
            yield Finding(page, number, "broken fence", "the last ``` has no end")


def _check_link(tree, page, number, target):
    if re.match(r"[a-zA-Z]+:|//", target):
        return
    path, _, anchor = target.partition("#")
    folder = "" if path.startswith("/") else posixpath.dirname(page)
    linked = posixpath.normpath(posixpath.join(folder, path.lstrip("/"))) if path else page
    line = re.fullmatch(r"L(\d+)(?:-L\d+)?", anchor)
    if linked != "." and linked not in tree.files and linked not in tree.folders:
        yield Finding(page, number, "broken link", f"there is no '{linked}'")
    elif anchor and linked.endswith(".md") and anchor not in anchors(tree, linked):
        yield Finding(page, number, "broken link", f"'{linked}' has no heading '#{anchor}'")
    elif line and linked in tree.files and int(line.group(1)) > tree.text(linked).count("\n"):
        yield Finding(page, number, "broken link", f"'{linked}' has no line {line.group(1)}")


def _check_script(tree, page, number, line):
    """A command's first word, if it names a file of the tree."""
    words = [word for word in line.split() if not re.match(r"\$$|[A-Z][A-Z0-9_]*=", word)]
    if words and "/" in words[0] and _PATH.fullmatch(words[0]) and not _exists(tree, page, words[0]):
        yield Finding(page, number, "broken path", f"there is no '{words[0]}' in the tree")


def _check_code(tree, words, page, number, text):
    """A path that begins with a folder of the tree or ends like a source; a name of humps such as `RoundMachine`."""
    path = re.sub(r":\d+(-\d+)?$", "", text.split()[0]) if "/" in text else text  # without arguments and line
    if _PATH.fullmatch(path) and not _exists(tree, page, path):
        yield Finding(page, number, "broken path", f"there is no '{path}' in the tree")
    if _TYPE.fullmatch(text):
        missing = [part for part in text.split("::") if part not in words]
        if missing:
            yield Finding(page, number, "broken name", f"no source has a '{missing[0]}'")


def _exists(tree, page, text):
    tops = {folder for folder in tree.folders if "/" not in folder}
    path = text.removeprefix("./").rstrip("/")
    if text.startswith("./") and re.fullmatch(r"[\w-]+", path):  # ./check
        return path in tree.files + tree.folders
    if "/" in path and path.split("/")[0] in tops:
        candidates = [path, posixpath.join(posixpath.dirname(page), path)]
        return any(fnmatch.filter(tree.files + tree.folders, candidate) for candidate in candidates)
    if path.endswith(_ENDINGS) and not path.startswith((".", "/")):
        return bool(fnmatch.filter(tree.files, "*/" + path)) or path in tree.files
    return True
