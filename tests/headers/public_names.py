#!/usr/bin/env python3
"""Checks that docs/api.md lists the names that the headers declare in namespace masthead, and no others.

    public_names.py FOLDER LIST    FOLDER is include/masthead, LIST docs/api.md
    public_names.py --self-test    small headers and lists with one fault each: every one must be found

A row or an item of the list starts with the name in backticks; a row's second cell names the headers that declare it,
in backticks and relative to FOLDER. Inline namespaces count as the one around them, so masthead::v0 is masthead, and
any other nested namespace holds no public names. A row that starts with `cpu::Name` names something that is declared in
masthead::cpu, whose other names need no rows. Operators are found by their operands' types and need no row, nor do
macros, specializations and members that are defined outside of their class.
"""

import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# In one expression: which of them a character belongs to is for the one that begins first.
COMMENT_OR_LITERAL = re.compile(
    r"""(?P<string>R"(?P<end>\w*)\(.*?\)(?P=end)"|"(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/|(?<!\w)'(?:\\.|[^'\\\n])+'""",
    re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
TOKEN = re.compile(r"""[A-Za-z_]\w*|\d[\w.']*|::|->|<=|>=|==|&&|\|\||""|\S""")
CLOSING = {"(": ")", "[": "]", "{": "}"}
# What may stand between a function's parameters and its body.
AFTER_PARAMETERS = {"const", "noexcept", "requires", "volatile", "throw"}
KEYWORDS = AFTER_PARAMETERS | {
    "alignas", "auto", "bool", "char", "class", "constexpr", "decltype", "double", "enum", "extern", "float", "if", "inline",
    "int", "long", "operator", "return", "short", "signed", "static", "struct", "template", "union", "unsigned", "void"}
ROW = re.compile(r"^\s*(\||[-*+])\s*`((?:cpu::)?[A-Za-z_]\w*)`(.*)$")
PUBLIC, CPU = ("masthead",), ("masthead", "cpu")


class Unreadable(Exception):
    """A declaration that this scanner does not understand: reported, so that no name is overlooked in silence."""


def blank(match):
    """Lines keep their numbers, and strings their quotes."""
    return ('""' if match.groupdict().get("string") else " ") + "\n" * match[0].count("\n")


def tokens_of(text):
    """(token, line) pairs without comments, directives, characters and the insides of strings."""
    text = DIRECTIVE.sub(blank, COMMENT_OR_LITERAL.sub(blank, text))
    tokens, line, at = [], 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        tokens.append((match[0], line))
    return tokens


def is_name(token):
    return re.fullmatch(r"[A-Za-z_]\w*", token) is not None


class Scanner:
    """Reads the declarations of one source in a namespace, outside of everything but namespaces."""

    def __init__(self, text, namespace=PUBLIC):
        self.namespace = namespace
        self.tokens = tokens_of(text)
        self.at = 0
        self.names = {}  # name -> line

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else ""

    def take(self):
        if self.at >= len(self.tokens):
            raise Unreadable("the source ends within a declaration")
        self.at += 1
        return self.tokens[self.at - 1][0]

    def line(self):
        return self.tokens[min(self.at, len(self.tokens) - 1)][1] if self.tokens else 1

    def skip_brackets(self):
        """Over (...), [...] or {...}, whose opening bracket is next; the tokens between them."""
        first = self.at
        open_brackets = [CLOSING[self.take()]]
        while open_brackets:
            token = self.take()
            if token in CLOSING:
                open_brackets.append(CLOSING[token])
            elif token in CLOSING.values() and token != open_brackets.pop():
                raise Unreadable(f"a {token} that closes nothing")
        return [token for token, _ in self.tokens[first + 1:self.at - 1]]

    def skip_angles(self):
        """Over <...>, whose < is next."""
        depth = 0
        while True:
            if self.peek() in CLOSING:
                self.skip_brackets()
                continue
            token = self.take()
            depth += (token == "<") - (token == ">")
            if depth == 0:
                return
            if token == ";":
                raise Unreadable("a < that is not closed")

    def skip_qualified(self):
        """Over a::b<c>::d."""
        while True:
            if self.peek() == "::":
                self.take()
            if self.peek() == "template":
                self.take()
            self.take()
            if self.peek() == "<":
                self.skip_angles()
            if self.peek() != "::":
                return

    def skip_constraint(self):
        """Over what follows `requires`: primary expressions between && and ||."""
        while True:
            if self.peek() == "(":
                self.skip_brackets()
            elif self.peek() == "requires":
                self.take()
                if self.peek() == "(":
                    self.skip_brackets()
                self.skip_brackets()
            else:
                self.skip_qualified()
            if self.peek() not in ("&&", "||"):
                return
            self.take()

    def skip_attributes(self):
        while self.peek() == "[" and self.peek(1) == "[" or self.peek() in ("alignas", "__align__", "__attribute__"):
            if self.peek() != "[":
                self.take()
            self.skip_brackets()

    def skip_to_semicolon(self):
        while self.peek() != ";":
            if self.peek() in CLOSING:
                self.skip_brackets()
            else:
                self.take()
        self.take()

    def declare(self, name, line):
        if not is_name(name) or name in KEYWORDS:
            raise Unreadable(f"a declaration of {name!r}")
        self.names.setdefault(name, line)

    def scan(self):
        """Collects the names, with their lines, that the source declares in the namespace."""
        self.scan_namespace(())
        if self.at < len(self.tokens):
            raise Unreadable("a } that closes nothing")

    def scan_namespace(self, path):
        """Up to the namespace's closing brace, or to the end of the source."""
        while self.at < len(self.tokens) and self.peek() != "}":
            if self.peek() == "namespace" or (self.peek() == "inline" and self.peek(1) == "namespace"):
                self.scan_nested(path)
            elif self.peek() == "extern" and self.peek(1) == '""' and self.peek(2) == "{":
                self.at += 3
                self.scan_namespace(path)
                self.take()
            elif path == self.namespace:
                self.scan_declaration()
            elif self.peek() in CLOSING:
                self.skip_brackets()
            else:
                self.take()

    def scan_nested(self, path):
        inline = self.peek() == "inline"
        self.at += 2 if inline else 1
        self.skip_attributes()
        nested = list(path)
        if self.peek() == "{" and not inline:
            nested.append("")  # unnamed
        while self.peek() != "{":
            token = self.take()
            if token == "=":  # an alias
                if path == self.namespace:
                    self.declare(nested[-1], self.line())
                return self.skip_to_semicolon()
            if token == "inline":
                inline = True
            elif is_name(token):
                if not inline:
                    nested.append(token)
                inline = False
        if nested[:1] == ["masthead"]:
            self.take()
            self.scan_namespace(tuple(nested))
            if self.take() != "}":
                raise Unreadable("a namespace that is not closed")
        else:
            self.skip_brackets()
        return None

    def scan_declaration(self):
        specializes = instantiates = False
        while self.peek() in ("template", "extern") or self.peek() == "[":
            if self.peek() == "[":
                self.skip_attributes()
            elif self.take() == "template":
                if self.peek() != "<":
                    instantiates = True
                    break
                specializes |= self.peek(1) == ">"
                self.skip_angles()
                if self.peek() == "requires":
                    self.take()
                    self.skip_constraint()
        if instantiates:
            return self.skip_to_semicolon()
        first, line = self.peek(), self.line()
        if first == ";":
            self.take()
        elif first == "static_assert":
            self.skip_to_semicolon()
        elif first == "concept":
            self.take()
            self.declare(self.take(), line)
            self.skip_to_semicolon()
        elif first in ("using", "typedef"):
            self.scan_alias(line)
        elif first in ("class", "struct", "union", "enum"):
            self.scan_type(line)
        elif re.fullmatch(r"[A-Z][A-Z0-9_]+", first) and self.peek(1) == "(":
            self.take()  # a macro that declares what its definition says
            self.skip_brackets()
        else:
            self.scan_function_or_variable(line, specializes)
        return None

    def scan_alias(self, line):
        first = self.at
        is_using, is_directive = self.take() == "using", self.peek() == "namespace"
        self.skip_to_semicolon()
        words = [token for token, _ in self.tokens[first + 1:self.at - 1]]
        if is_directive:
            return
        if is_using and "=" in words:
            self.declare(words[0], line)
        else:  # using a::b, or a typedef of no function
            self.declare(words[-1], line)

    def scan_type(self, line):
        kind = self.take()
        scoped = kind != "enum" or self.peek() in ("class", "struct")
        if kind == "enum" and scoped:
            self.take()
        self.skip_attributes()
        name = ""
        while is_name(self.peek()) and self.peek() != "final":
            name = self.take()  # the last: macros may come first
        if self.peek() == "::":
            raise Unreadable(f"{kind} {name}:: outside of its class")
        specializes = self.peek() == "<"
        while self.peek() not in ("{", ";"):
            if self.peek() in CLOSING:
                self.skip_brackets()
            else:
                self.take()
        if name and not specializes:
            self.declare(name, line)
        if self.peek() == "{":
            body = self.skip_brackets()
            if not scoped:
                for before, token in zip(["{", *body], body):
                    if before in ("{", ","):
                        self.declare(token, line)
            if is_name(self.peek()):
                self.declare(self.peek(), line)  # struct {...} variable;
        self.skip_to_semicolon()

    def scan_function_or_variable(self, line, specializes):
        """A function's name stands before the first parentheses that only its body or a semicolon can follow."""
        name, qualified = "", False
        while True:
            token = self.peek()
            if token == "operator":
                self.take()
                while self.peek() != "(" or self.peek(1) == ")" and self.peek(2) == "(":
                    self.at += 2 if self.peek() == "(" else 1
                self.skip_brackets()
                return self.skip_function_rest()
            if token == "(":
                inside = self.skip_brackets()
                following = self.peek()
                if inside[:1] in (["*"], ["&"]) and following == "(":  # a pointer to a function
                    self.declare(next(filter(is_name, inside)), line)
                    return self.skip_to_semicolon()
                if is_name(following) and following not in AFTER_PARAMETERS:
                    continue  # of an attribute, of decltype or of a macro
                if not specializes and not qualified:
                    self.declare(name, line)
                return self.skip_function_rest()
            if token in ("=", "{", ";", "[", ","):
                if not specializes and not qualified:
                    self.declare(name, line)
                return self.skip_variables(specializes or qualified, line)
            if token == "<":
                self.skip_angles()
                if self.peek() in ("(", "=", "{", ";"):
                    specializes = True
            elif token == "::":
                qualified = True
                self.take()
            elif is_name(token):
                qualified = qualified and self.tokens[self.at - 1][0] == "::"
                name = self.take()
            else:
                self.take()

    def skip_function_rest(self):
        while self.peek() not in (";", "{"):
            if self.peek() == "requires":
                self.take()
                self.skip_constraint()
            elif self.peek() in CLOSING:
                self.skip_brackets()
            else:
                self.take()
        if self.peek() == "{":
            self.skip_brackets()
        else:
            self.take()

    def skip_variables(self, specializes, line):
        """Over an initializer, and over further variables: int a = 1, b = 2;"""
        while self.peek() != ";":
            if self.peek() in CLOSING:
                self.skip_brackets()
            elif self.peek() == "," and is_name(self.peek(1)) and self.peek(2) in ("=", "{", ";", ","):
                self.take()
                if not specializes:
                    self.declare(self.take(), line)
            else:
                self.take()
        self.take()


def declared_names(folder):
    """Name -> {header: line}, those of masthead::cpu as cpu::name; and what could not be read."""
    declared, faults = defaultdict(dict), []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".hpp", ".cuh"):
            header = str(path.relative_to(folder))
            for namespace, prefix in ((PUBLIC, ""), (CPU, "cpu::")):
                scanner = Scanner(path.read_text(encoding="utf-8"), namespace)
                try:
                    scanner.scan()
                except Unreadable as reason:
                    faults.append(f"{header}:{scanner.line()}: cannot be read: {reason}")
                for name, line in scanner.names.items():
                    declared[prefix + name][header] = line
    return declared, faults


def listed_names(text):
    """(name, headers, line) of each row and item."""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := ROW.match(line):
            cells = match[3].split("|")
            yield match[2], re.findall(r"`([^`]+)`", cells[1]) if match[1] == "|" and len(cells) > 1 else [], number


def check(folder, names_list):
    """All faults, one a line."""
    declared, faults = declared_names(folder)
    listed = set()
    for name, headers, line in listed_names(names_list.read_text(encoding="utf-8")):
        place = f"{names_list.name}:{line}"
        if name in listed:
            faults.append(f"{place}: {name} is listed twice")
        listed.add(name)
        if name not in declared:
            faults.append(f"{place}: no header declares {name} in namespace masthead")
            continue
        for header in headers:
            if header not in declared[name]:
                faults.append(f"{place}: {name} is declared in {', '.join(declared[name])}, not in {header}")
    if not listed:
        faults.append(f"{names_list.name}: no row or item starts with a name in backticks")
    for name in sorted(name for name in declared.keys() - listed if not name.startswith("cpu::")):
        for header, line in declared[name].items():
            faults.append(f"{header}:{line}: {name} is public and not in {names_list.name}")
    return faults, len(listed)


GOOD_HEADER = r"""
#pragma once
/// struct InAComment {};
#define MASTHEAD_UNBALANCED { struct \
  InADirective
namespace masthead::inline v0 {
template <class T, int n = (1 > 0)>
class Class final : public std::vector<T> { int member(int) { return '{'; } /* } */ };
struct Forward;
template <> struct Class<int, 1> {};
template <class T> Class(T*) -> Class<T>;
enum class Scoped : std::uint8_t { not_public };
template <class T> concept Concept = requires(T t) { t.size(); } && sizeof(T) > 1;
template <Scoped s> using Alias = std::conditional_t<s == Scoped::not_public, int, Class<int>>;
inline constexpr int variable = 1 << 3, other_variable{2};
template <class T> inline constexpr T template_variable = T{};
template <class T>
requires(!std::is_same_v<T, int>) && Concept<T> [[nodiscard]] constexpr std::int64_t function(T (&array)[3], int = 2)
  requires std::is_void_v<T> { return array["}"[0] == '}']; }
__global__ void __launch_bounds__(256) kernel(const __grid_constant__ Class<int> p) {}
inline auto trailing(int n) -> decltype(n + 1);
std::ostream& operator<<(std::ostream& out, Scoped);
inline void Forward::member() {}
static_assert(variable == 8, "a { sentence");
namespace detail { struct InDetail { void f(); }; }
namespace constraint { constexpr bool in_another() { return true; } }
inline namespace ARCHITECTURES { struct InInline {}; }
}  // namespace masthead::inline v0
namespace masthead::inline v0::inline ARCHITECTURES { void in_inline(); }
namespace masthead::inline v0::detail::inline ARCHITECTURES { void in_detail(); }
namespace masthead::inline v0::ptx { template <class T> struct InPtx {}; }
namespace masthead::inline v0::cpu { struct InCpu {}; namespace detail { struct InCpuDetail {}; } }
namespace other { struct InOther {}; }
struct InNone {};
"""
GOOD_NAMES = ["Class", "Forward", "Scoped", "Concept", "Alias", "variable", "other_variable", "template_variable",
              "function", "kernel", "trailing", "InInline", "in_inline"]


def test_case(name, header, names_list, expected):
    """Whether the faults are as many as expected and hold the expected words, in this order."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "masthead")
        (folder / "tile").mkdir(parents=True)
        (folder / "tile/good.hpp").write_text(header)
        (folder / "tile/empty.hpp").write_text("#pragma once\n")
        Path(scratch, "api.md").write_text(names_list)
        faults, _ = check(folder, Path(scratch, "api.md"))
    ok = len(faults) == len(expected) and all(words in fault for words, fault in zip(expected, faults))
    print(f"{'ok' if ok else 'FAILED':6} {name}")
    print("".join(f"       {fault}\n" for fault in faults if not ok), end="")
    return ok


def self_test():
    table = "| name | header | what |\n| --- | --- | --- |\n"
    table += "".join(f"| `{name}` | `tile/good.hpp` | a thing, see `Nothing` |\n" for name in GOOD_NAMES)
    items = "".join(f"- `{name}`: a thing\n" for name in GOOD_NAMES)
    closed = "}  // namespace masthead::inline v0\nnamespace masthead::inline v0::inline"
    cases = [("a table", GOOD_HEADER, table, []), ("a list", GOOD_HEADER, items, []),
             ("a name that is not declared", GOOD_HEADER, table + "| `Gone` | `tile/good.hpp` | |\n",
              ["no header declares Gone"]),
             ("a name in detail", GOOD_HEADER, items + "- `InDetail`\n", ["no header declares InDetail"]),
             ("a name of cpu", GOOD_HEADER, items + "- `cpu::InCpu`: a thing\n", []),
             ("a name that cpu does not declare", GOOD_HEADER, items + "- `cpu::InPtx`\n",
              ["no header declares cpu::InPtx"]),
             ("a name in detail of cpu", GOOD_HEADER, items + "- `cpu::InCpuDetail`\n",
              ["no header declares cpu::InCpuDetail"]),
             ("a name of cpu without its namespace", GOOD_HEADER, items + "- `InCpu`\n", ["no header declares InCpu"]),
             ("a name that is listed twice", GOOD_HEADER, items + "* `Class`\n", ["Class is listed twice"]),
             ("a name of another header", GOOD_HEADER, table.replace("`tile/good.hpp`", "`tile/empty.hpp`", 1),
              ["api.md:3: Class is declared in tile/good.hpp, not in tile/empty.hpp"]),
             ("a list without names", "#pragma once\n", "Nothing.\n", ["no row or item"]),
             ("a source that cannot be read", "namespace masthead {\nstruct A {};\n\nvoid;\n}\n", "- `A`\n",
              ["tile/good.hpp:4: cannot be read"])]
    for name in GOOD_NAMES:
        cases.append((f"{name} is not listed", GOOD_HEADER, re.sub(rf".*`{name}`.*\n", "", items),
                      [f"{name} is public and not in api.md"]))
    for declaration in ("struct Added {};", "union Added;", "enum { Added = 1 };", "using other::Added;",
                        "typedef int Added;",
                        "extern int (*Added)(int);", "int Added[2] = {};", "template <class T> T Added(T) noexcept;",
                        "namespace Added = other;", "class alignas(16) Added {};", "struct MACRO Added final {};",
                        "extern \"C\" { int Added(); }"):
        header = GOOD_HEADER.replace(closed, f"{declaration}\n{closed}")
        cases.append((declaration, header, items, ["Added is public and not in api.md"]))
    failed = [name for name, *rest in cases if not test_case(name, *rest)]
    sys.exit(f"{len(failed)} of {len(cases)} failed" if failed else None)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    folder, names_list = map(Path, sys.argv[1:])
    faults, count = check(folder, names_list)
    print(*faults, f"{count} names in {names_list.name}, {len(faults)} faults", sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
