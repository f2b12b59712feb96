"""Where functions of a C++ source begin and end, found without a compiler: enough for what clang-format wrote."""

import re

# What stands for text that is not code keeps its line breaks, so that line numbers stay true.
_NOT_CODE = re.compile(
    r'//(?:[^\n\\]|\\.|\\\n)*'                                     # // comment
    r'|/\*.*?\*/'                                                  # /* comment */
    r'|(?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"'  # R"(raw string)"
    r'|"(?:[^"\\\n]|\\.|\\\n)*"'                                   # "string"
    r"|(?:(?<!\w)(?:u8|[uUL])|(?<![0-9a-fA-F]))'(?:[^'\\\n]|\\.)+'",  # 'c', but not the ' of 1'000
    re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*|::|->|&&|\S")
_TYPES = {"class", "struct", "union", "enum"}
_BEFORE_A_TYPE = {"typedef", "static", "const", "constexpr", "inline", "friend", "extern"}
_AFTER_PARAMETERS = {"const", "override", "final", "noexcept", "mutable", "&", "&&", "try", "constexpr", "volatile"}


def without_comments_and_strings(text):
    def blank(match):
        breaks = "\n" * match.group().count("\n")
        return breaks if match.group().startswith("/") else '""' + breaks
    return _NOT_CODE.sub(blank, text)


def _tokens(code):
    """(token, line) of all that is no preprocessor line; a branch of #if is a token '#if', '#else' or '#endif'."""
    continued = False
    for number, line in enumerate(code.split("\n"), 1):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            name = directive.group(1) if directive and not continued else ""
            continued = line.rstrip().endswith("\\")
            if name in ("if", "ifdef", "ifndef"):
                yield "#if", number
            elif name in ("else", "elif"):
                yield "#else", number
            elif name == "endif":
                yield "#endif", number
            continue
        for match in _WORD.finditer(line):
            yield match.group(), number


def _without_template_and_attributes(head):
    """The head of a declaration without `template <…>` and `[[…]]` in front."""
    at = 0
    while at < len(head):
        if head[at] == "template" and head[at + 1:at + 2] == ["<"]:
            at, depth = at + 1, 0
            while at < len(head):
                depth += {"<": 1, ">": -1}.get(head[at], 0)
                at += 1
                if depth == 0:
                    break
        elif head[at:at + 2] == ["[", "["]:
            while at < len(head) and head[at:at + 2] != ["]", "]"]:
                at += 1
            at += 2
        elif head[at] in _BEFORE_A_TYPE:
            at += 1
        else:
            break
    return head[at:]


def _is_subscript(head):
    """Whether the [] at the end of these tokens stands behind a name, and begins no lambda."""
    at, depth = len(head), 0
    while at > 0:
        at -= 1
        depth += {"]": 1, "[": -1}.get(head[at], 0)
        if depth == 0:
            break
    return at > 0 and re.fullmatch(r"\w+|\]", head[at - 1]) is not None and head[at - 1] != "return"


def _kind(head, inside_function):
    """What a brace opens after these tokens: 'scope', 'function', 'block' or 'value'."""
    last = head[-1] if head else ""
    if inside_function:
        return "block"
    declared = _without_template_and_attributes(head)
    first = declared[0] if declared else ""
    if first == "namespace" or declared == ['"', '"']:  # extern "C" {
        return "scope"
    if first in _TYPES and last != ")" and last not in _AFTER_PARAMETERS - {"final"}:
        return "scope"
    if last == "]" and _is_subscript(head):  # int table[256]{
        return "value"
    if last in (")", "]") or last in _AFTER_PARAMETERS:
        return "function"
    if last == "}" and ")" in head:  # the body after a list of members: A() : b_{1} {
        return "function"
    after_parameters = head[len(head) - head[::-1].index(")"):] if ")" in head else []
    if "->" in after_parameters or "requires" in after_parameters[:1] or (
            after_parameters and all(re.fullmatch("[A-Z][A-Z0-9_]+", word) for word in after_parameters)):  # a macro
        return "function"
    return "value"


def functions(text):
    """(first line, last line) of each outermost function or lambda; raises ValueError if braces do not match."""
    found = []
    stack = []     # (kind, first line of what is declared, tokens of the declaration)
    branches = []  # the stack as it was before #if
    head, begin, parentheses = [], 0, 0
    last_line = 0
    for token, line in _tokens(without_comments_and_strings(text)):
        last_line = line
        if token == "#if":
            branches.append((list(stack), list(head), begin, parentheses))
        elif token == "#else":
            stack, head, begin, parentheses = [list(part) if isinstance(part, list) else part for part in branches[-1]]
        elif token == "#endif":
            branches.pop()
        elif token == "{":
            inside_function = any(kind in ("function", "block") for kind, *_ in stack)
            stack.append((_kind(head, inside_function), begin or line, head, begin, parentheses))
            head, begin, parentheses = [], 0, 0
        elif token == "}":
            if not stack:
                raise ValueError(f"line {line}: a }} without its {{")
            kind, first, outer_head, outer_begin, outer_parentheses = stack.pop()
            if kind == "function" and not any(outer in ("function", "block") for outer, *_ in stack):
                found.append((first, line))
            if kind == "value" or outer_parentheses:  # the declaration goes on behind its {…}
                head, begin, parentheses = outer_head + ["{", "}"], outer_begin, outer_parentheses
            else:
                head, begin, parentheses = [], 0, 0
        elif token == ";" and parentheses == 0:
            head, begin = [], 0
        elif token == ":" and len(head) == 1 and head[0] in ("public", "private", "protected"):
            head, begin = [], 0
        else:
            parentheses += {"(": 1, ")": -1}.get(token, 0)
            begin = begin or line
            head.append(token)
    if stack:
        raise ValueError(f"line {last_line}: a {{ without its }}")
    return found


def macros(text):
    """(first line, last line) of each #define."""
    found, begin = [], 0
    for number, line in enumerate(text.split("\n"), 1):
        begin = begin or (number if re.match(r"\s*#\s*define\b", line) else 0)
        if begin and not line.rstrip().endswith("\\"):
            found.append((begin, number))
            begin = 0
    return found
