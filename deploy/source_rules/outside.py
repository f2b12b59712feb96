"""Rules that another program checks: clang-format, and the scripts beside check-source."""

import os
import re
import shutil
import subprocess

from source_rules.tree import Finding

CLANG_FORMAT = "14"  # the version that .clang-format was written for: others break lines elsewhere
_FAULT = re.compile(r"(.+?):(\d+):\d+: error: (.*)")


def clang_format():
    """The program of the right version, or (None, why not)."""
    for name in (f"clang-format-{CLANG_FORMAT}", "clang-format"):
        program = shutil.which(name)
        if program:
            version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            if f"version {CLANG_FORMAT}." in version:
                return program, ""
            reason = version.strip()
            return None, f"clang-format {CLANG_FORMAT} is the style's, here is {reason}"
    return None, f"clang-format {CLANG_FORMAT} is not installed"


def check_format(tree, program):
    """One process for each core; a file is named once, at the first line that would change."""
    files, count = tree.cxx, os.cpu_count() or 1
    shares = [files[start::count] for start in range(count)]
    running = [subprocess.Popen([program, "--dry-run", "-Werror", *share], cwd=tree.root, stderr=subprocess.PIPE,
                                text=True) for share in shares if share]
    seen = set()
    for process in running:
        for line in process.communicate()[1].split("\n"):
            match = _FAULT.match(line)
            if match and match.group(1) not in seen:
                seen.add(match.group(1))
                path = match.group(1).removeprefix(f"{tree.root}/")
                advice = f"run clang-format -i {path}" if "clang-formatted" in match.group(3) else match.group(3)
                yield Finding(path, int(match.group(2)), "format", advice)
        if process.returncode and not seen:
            yield Finding(".clang-format", 1, "format", f"{program} ended with {process.returncode}")


def check_wire_fields(tree, script):
    """The findings of deploy/check-wire-fields, in its words."""
    result = subprocess.run([str(tree.root / script)], cwd=tree.root, capture_output=True, text=True)
    if result.returncode == 0:
        return
    for line in (result.stdout + result.stderr).split("\n"):
        place = re.match(r"([^\s:]+):(\d+): (?:wire field: )?(.*)", line)
        if place:
            yield Finding(place.group(1), int(place.group(2)), "wire field", place.group(3))
        elif line.strip():
            yield Finding(script, 1, "wire field", line.strip())
