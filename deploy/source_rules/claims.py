"""What the pages say of commands, flags, keys and variables, against the programs' --help and the sources."""

import functools
import os
import pathlib
import re
import subprocess

from source_rules.links import prose
from source_rules.tree import Finding

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FLAG = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z](?![\w-]))")
# visit("section.key", …): a strategy names its own keys.
_READ_KEY = re.compile(r'(?:\b(?:c|configuration_?)\.'
                       r'(?:Required)?(?:Strings?|Integer|Number|Bool|Paths?|TableCount)\(\s*'
                       r'|\bvisit\((?="[a-z_]+\.))"([a-z_]+(?:\.[a-z_]+)?)"')
_BEFORE_A_PROGRAM = ("sudo", "env", "time", "exec", "nohup", "nice", "do", "then", "bench/run", "$")
# Of several commands in a line each is looked at; what stands in quotes is a value.
_SEPARATOR = re.compile(r"\s(?:\|\|?|&&?)\s|;\s")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_FILE_ENDINGS = ("toml", "proto", "md", "h", "cc", "json", "key", "pem", "crt", "svg", "txt")
# Programs of others that a page may call: their flags are their own business.
_FOREIGN = {"apt-get", "cmake", "ctest", "curl", "clang-format", "clang-tidy", "clang++", "git", "kill", "npm",
            "openssl", "pip", "pkg-config", "python3", "systemctl", "docker", "c++", "g++", "journalctl", "make",
            "ninja", "npx", "perf", "ssh", "tar", "valgrind"}


class Programs:
    """The built programs, asked for their --help. What a program gives to itself alone stands in its sources."""

    def __init__(self, tree, folder):
        self.literals = {flag for path in tree.cxx if not path.startswith("tests/")
                         for flag in re.findall(r'"(--[a-z][a-z-]*)"', tree.text(path))}
        self.folder = pathlib.Path(folder)
        self.names = sorted(path.name for path in self.folder.glob("*")
                            if path.is_file() and os.access(path, os.X_OK) and not path.name.endswith("_test")
                            and not path.suffix) if self.folder.is_dir() else []

    @functools.lru_cache(maxsize=None)
    def help(self, *words):
        result = subprocess.run([str(self.folder / words[0]), *words[1:], "--help"], capture_output=True, text=True,
                                timeout=300, stdin=subprocess.DEVNULL)
        return result.stdout + result.stderr

    def subcommands(self, *words):
        names, inside = [], False
        for line in self.help(*words).split("\n"):
            match = re.match(r"  ([a-z][a-z-]*)(?:\s|$)", line)
            if line.lower().startswith("subcommands"):
                inside = True
            elif inside and match:
                names.append(match.group(1))
            elif inside and line and not line.startswith(" "):
                inside = False
        return names

    def flags(self, *words):
        return set(_FLAG.findall(self.help(*words))) | {"--help"}

    @functools.cached_property
    def commands(self):
        """Every program and every subcommand, as words."""
        found = [(name,) for name in self.names]
        for words in found:
            found += [(*words, name) for name in self.subcommands(*words)]
        return found

    @functools.cached_property
    def every_flag(self):
        return {flag for words in self.commands for flag in self.flags(*words)} | self.literals

    @functools.cached_property
    def hidden(self):
        """Flags that no --help shows."""
        return self.literals - {flag for words in self.commands for flag in self.flags(*words)}


def check_commands(tree, programs):
    scripts = {path: set(_FLAG.findall(tree.text(path))) for path in tree.files
               if not path.startswith("tests/data/") and tree.text(path).startswith("#!")}
    for page in tree.pages:
        for number, line, fenced in _commands(tree, page):
            texts = [line] if fenced == "shell" else _CODE.findall(line) if not fenced else []
            for text in (part for each in texts for part in _SEPARATOR.split(_QUOTED.sub('""', each))):
                for advice in _command_faults(programs, scripts, text, fenced):
                    yield Finding(page, number, "unknown flag or command", advice)


def _commands(tree, page):
    """The lines of a page; a command of several lines that end with a backslash is one, at its first."""
    first, before = 0, ""
    for number, line, fenced in prose(tree, page):
        if fenced == "shell" and line.endswith("\\"):
            first, before = first or number, before + line[:-1]
        else:
            yield first or number, before + line, fenced
            first, before = 0, ""


def _command_faults(programs, scripts, text, fenced):
    words = [word for word in re.split(r"[\s\[\]()]+", re.split(r"\s#\s", text)[0]) if word]
    while words and (re.match(r"[A-Z][A-Z0-9_]*=", words[0]) or words[0] in _BEFORE_A_PROGRAM):
        words.pop(0)
    if not words or words[0] in _FOREIGN:
        return
    name = re.sub(r"^(\./)?build/\w+/bin/", "", words[0])
    if name in programs.names:
        yield from _program_faults(programs, name, words[1:])
    elif (name != words[0] or fenced and name.startswith("fedglm-")) and not name.endswith("_test"):
        yield f"there is no program '{name}'"
    elif not fenced or name.removeprefix("./") in scripts:
        known = programs.every_flag | scripts.get(name.removeprefix("./"), set())
        if not name.startswith("-"):
            known |= set().union(*scripts.values())
        for flag in _FLAG.findall(text):
            if flag.startswith("--") and flag not in known:
                yield f"no program has a flag '{flag}'"


def _program_faults(programs, name, words):
    """`fedglm generate|chat --flag` stands for two commands; a word in capitals for any."""
    paths = [(name,)]
    while words and programs.subcommands(*paths[0]) and re.fullmatch(r"[a-z|-]+", words[0]) and words[0][0] != "-":
        next_paths = []
        for word in words[0].split("|"):
            if word not in programs.subcommands(*paths[0]):
                yield f"'{' '.join(paths[0])}' has no subcommand '{word}'"
                return
            next_paths.append((*paths[0], word))
        paths, words = next_paths, words[1:]
    if words and re.fullmatch(r"[A-Z…]+", words[0]) and programs.subcommands(*paths[0]):
        return
    for path in paths:
        for flag in _FLAG.findall(" ".join(words)):
            if flag not in programs.flags(*path) | programs.hidden:
                yield f"'{' '.join(path)}' has no flag '{flag}'"


class Keys:
    """The configuration keys that the sources read."""

    def __init__(self, tree):
        self.full = {}  # "server.listen" -> (path, line)
        self.last = set()
        for path in tree.cxx:
            if path.startswith("tests/"):
                continue
            for match in _READ_KEY.finditer(tree.text(path)):
                self.full.setdefault(match.group(1), (path, tree.text(path).count("\n", 0, match.start(1)) + 1))
            if re.search("option|plan", path):
                self.last |= set(re.findall(r'"\.?([a-z][a-z0-9_]*)"', tree.text(path)))
        self.sections = {key.split(".")[0] for key in self.full if "." in key}

    def has(self, key):
        return key in self.full or key.split(".")[-1] in self.last


def check_keys(tree):
    keys = Keys(tree)
    for page in tree.pages:
        section = None
        for number, line, fenced in prose(tree, page):
            named = re.findall(r"^\s*\[\[?([a-z._]+)\]\]?" if fenced else r"`\[\[?([a-z._]+)\]\]?`", line)
            if named:
                section = named[-1]
                if fenced == "toml" and section.split(".")[0] not in keys.sections:
                    yield Finding(page, number, "unknown key", f"no program reads the table '[{section}]'")
            elif line.startswith("#") and not fenced:
                section = None
            for key in _keys_of(line, fenced, section, keys.sections):
                if not keys.has(key):
                    yield Finding(page, number, "unknown key", f"no program reads the key '{key}'")
    text = "\n".join(tree.text(page) for page in tree.pages)
    for key, (path, number) in keys.full.items():
        if key not in text and not re.search(rf"`{re.escape(key.split('.')[-1])}`", text):
            yield Finding(path, number, "unknown key", f"no page says what the key '{key}' means")


def _keys_of(line, fenced, section, sections):
    if fenced:
        match = re.match(r'\s*"?([\w-]+(?:\.[\w-]+)*)"?\s*=', line) if fenced == "toml" else None
        return [f"{section}.{match.group(1)}"] if match and section and section.split(".")[0] in sections else []
    found = [text for text in _CODE.findall(line) if re.fullmatch(r"[a-z_]+\.[a-z_]+", text)
             and text.split(".")[0] in sections
             and text.split(".")[1] not in _FILE_ENDINGS]
    if section in sections | {"serve.upstream"} and line.startswith("|"):
        found += [f"{section}.{key}" for key in re.findall(r"`([a-z_]+)`", line.split("|")[1])]
    return found


def check_variables(tree):
    """FEDGLM_… in a page: read by a source or a script, or made from a key."""
    known = set()
    for path in tree.files:
        if path in tree.pages or path.startswith("tests/data/"):
            continue
        text = tree.text(path)
        if path.endswith((".cc", ".h")):  # neither a comment reads one, nor a test that sets it
            text = re.sub(r"//.*", "", text)
            if path.startswith("tests/"):
                text = "\n".join(line for line in text.split("\n") if "getenv" in line or "#if" in line)
        known |= set(re.findall(r"FEDGLM_[A-Z0-9_]+", text))
    known |= {"FEDGLM_" + key.replace(".", "_").upper() for key in Keys(tree).full}
    for page in tree.pages:
        for number, line in enumerate(tree.lines(page), 1):
            for name in re.findall(r"FEDGLM_[A-Z0-9_]*[A-Z0-9]\b(?!_|\*)", line):
                if name not in known:
                    yield Finding(page, number, "unknown variable", f"nothing reads '{name}'")
