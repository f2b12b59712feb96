"""Includes and links against the two tables of CONTRIBUTING.md: of rooms, and of headers that are for few."""

import fnmatch
import posixpath
import re

from source_rules.tree import Finding, table_rows

PAGE = "CONTRIBUTING.md"
GENERATED = "fedglm/v1/"  # what protoc makes of proto/fedglm/v1
_INCLUDE = re.compile(r'\s*#\s*include\s*[<"]([^>"]+)[>"]')
_LINKS = re.compile(r"\b(fedglm_room|fedglm_program|target_link_libraries)\s*\(([^)]*)\)", re.IGNORECASE)
_ALIAS = re.compile(r"\badd_library\s*\(fedglm::(\w+) ALIAS ")
_OTHER_ENDINGS = (".hpp", ".hh", ".hxx", ".cpp", ".cxx", ".c", ".inc", ".inl", ".ipp")


class Rooms:
    """The table of rooms. `problems` has what is wrong with the table itself."""

    def __init__(self, tree):
        self.allowed = {}  # room -> rooms that it may include, None for all
        self.lines = {}
        self.problems = []
        for line, cells in table_rows(tree, PAGE, "room"):
            room = cells[0].strip("`").rstrip("/")
            if room not in tree.folders:
                self._problem(line, f"there is no folder '{room}/'")
            self.lines[room] = line
            self.allowed[room] = None if cells[2].startswith("all") else self._named(room, cells[2], line)
        if not self.allowed:
            self._problem(1, "no table begins with '| room |'")

    def _problem(self, line, advice):
        self.problems.append(Finding(PAGE, line, "table of rooms", advice))

    def _named(self, room, cell, line):
        """`name` is the room beside this one, else the one at the top; both stand above in the table."""
        rooms = set()
        for name in re.findall(r"`([^`]+)`", cell):
            candidates = [posixpath.join(posixpath.dirname(room), name), name]
            known = [each for each in candidates if each in self.allowed and each != room]
            if known:
                rooms.add(known[0])
            else:
                self._problem(line, f"'{room}' may not use '{name}': that is no room above it in the table")
        return rooms

    def of(self, path):
        """The row with the longest name that holds this path, or None."""
        while path:
            path = posixpath.dirname(path)
            if path in self.allowed:
                return path
        return None

    def may(self, user, used):
        return user == used or self.allowed[user] is None or used in self.allowed[user]

    def list_of(self, room):
        return ", ".join(sorted(self.allowed[room])) or "nothing"


class GuardedHeaders:
    """The table of headers that only some rooms may include: [(pattern, line, in sources, in headers)]."""

    def __init__(self, tree):
        self.rows = []
        for line, cells in table_rows(tree, PAGE, "header"):
            for pattern in re.findall(r"`([^`]+)`", cells[0]):
                self.rows.append((pattern, line, cells[1], cells[2]))

    def row(self, header):
        for row in self.rows:
            if header.startswith(row[0]) if row[0].endswith("/") else header == row[0]:
                return row
        return None

    @staticmethod
    def holds(cell, path):
        """Whether a cell such as "`base`, `*_main.cc`" or "all" means this file."""
        names = re.findall(r"`([^`]+)`", cell)
        return cell.startswith("all") or any(path.startswith(name.rstrip("/") + "/") or fnmatch.fnmatch(path, name)
                                             for name in names)


def check(tree):
    rooms, guarded = Rooms(tree), GuardedHeaders(tree)
    yield from rooms.problems
    if not rooms.allowed:
        return
    for path in tree.files:
        if path.endswith(_OTHER_ENDINGS):
            yield Finding(path, 1, "table of rooms", "no rule sees a file of this ending: C++ is in .h and .cc")
    for path in tree.cxx:
        if rooms.of(path) is None:
            yield Finding(path, 1, "table of rooms", f"its folder has no row in the table of {PAGE}")
            continue
        for number, line in enumerate(tree.lines(path), 1):
            match = _INCLUDE.match(line)
            if match:
                yield from _check_include(tree, rooms, guarded, path, number, match.group(1))
    yield from _check_links(tree, rooms)


def _check_include(tree, rooms, guarded, path, number, header):
    user = rooms.of(path)
    row = guarded.row(header)
    if row and path.startswith(row[0]):
        row = None  # the room itself
    if row:
        cell = row[3] if path.endswith(".h") else row[2]
        if not path.startswith(("tests/", "bench/")) and not guarded.holds(cell, path):
            kind = "headers" if path.endswith(".h") else "sources"
            yield Finding(path, number, "guarded header", f"<{header}> belongs in {kind} of: {cell} ({PAGE}:{row[1]})")
        return
    if "." not in header and "/" not in header:
        return  # the C++ standard library
    used = "proto" if header.startswith(GENERATED) else rooms.of(header) if header in tree.files else None
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), header))
    if used is None and beside in tree.files:
        yield Finding(path, number, "table of rooms", f"'{header}' is named from the top of the tree: \"{beside}\"")
    elif used is None:
        yield Finding(path, number, "guarded header",
                      f"<{header}> is no file of the tree; a third-party header needs its row in {PAGE}")
    elif not rooms.may(user, used):
        yield Finding(path, number, "table of rooms",
                      f"'{user}' may include {rooms.list_of(user)}, not '{used}' ({PAGE}:{rooms.lines[user]})")


def _rooms_seen_by(tree, rooms, folder, words):
    """The rooms that the sources among a call's words include."""
    sources = [posixpath.join(folder, word) for word in words if word.endswith(".cc")]
    headers = [match.group(1) for source in sources if source in tree.files
               for match in map(_INCLUDE.match, tree.lines(source)) if match]
    return {rooms.of(header) for header in headers if header in tree.files}


def _check_links(tree, rooms):
    """A target may link with what the rooms in its folder may include. Programs may link what their main() includes."""
    calls, folders = [], {}
    for path in tree.matching("*CMakeLists.txt", "*.cmake"):
        text = re.sub(r"#[^\n]*", "", tree.text(path))
        folders.update({name: posixpath.dirname(path) for name in _ALIAS.findall(text)})
        for match in _LINKS.finditer(text):
            words = [re.sub(r'^"?(?:\$<\w+:)*|[>"]+$', "", word) for word in match.group(2).split()]
            line = text[:match.start()].count("\n") + 1
            calls.append((path, line, match.group(1), words))
            if match.group(1) == "fedglm_room" and words:
                folders[words[0]] = posixpath.dirname(path)
    for path, line, function, words in calls:
        target = re.sub(r"^fedglm(::|_)", "", words[0]) if words else ""
        user = rooms.of(folders[target] + "/") if target in folders else rooms.of(path)
        if user is None:
            continue
        for word in words[1:]:
            name = re.sub(r"^fedglm(::|_)", "", word)
            used = rooms.of(folders[name] + "/") if name != word and name in folders else None
            if function == "fedglm_program" and used in _rooms_seen_by(tree, rooms, posixpath.dirname(path), words):
                continue
            inside = [room for room in rooms.allowed if (room + "/").startswith(user + "/")]
            if used and not any(rooms.may(room, used) for room in inside):
                yield Finding(path, line, "table of rooms",
                              f"a target of '{user}' may link with {rooms.list_of(user)}, not '{word}' "
                              f"({PAGE}:{rooms.lines[user]})")
