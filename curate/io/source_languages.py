"""Which programming language a file is in, by its name, and by its content where the name leaves a choice.

Names follow GitHub Linguist, in lower case where `code` and other steps compare them. The table holds what people write
by hand and models learn from; data formats (CSV, SVG, notebooks, object dumps) are left out on purpose.
"""

from __future__ import annotations

import re

_BY_LANGUAGE = {
    "Ada": ".adb .ads", "Agda": ".agda", "Apex": ".cls .apex", "Assembly": ".asm .s .nasm", "Astro": ".astro", "AWK": ".awk",
    "Batchfile": ".bat .cmd", "Bicep": ".bicep", "Bluespec": ".bsv", "C": ".c .h", "C#": ".cs .csx", "C++": ".cpp .cc .cxx .c++ .hpp .hh .hxx .h++ .ipp .tpp",
    "CMake": ".cmake cmakelists.txt", "COBOL": ".cob .cbl .cobol", "CSS": ".css", "Clojure": ".clj .cljs .cljc .edn", "CoffeeScript": ".coffee",
    "Common Lisp": ".lisp .lsp .cl", "Coq": ".v", "Crystal": ".cr", "Cuda": ".cu .cuh", "Cython": ".pyx .pxd .pxi", "D": ".d", "Dart": ".dart",
    "Dhall": ".dhall", "Dockerfile": ".dockerfile dockerfile containerfile", "Elixir": ".ex .exs", "Elm": ".elm", "Emacs Lisp": ".el", "Erlang": ".erl .hrl",
    "F#": ".fs .fsi .fsx", "Fortran": ".f .f77 .for .f90 .f95 .f03 .f08", "GLSL": ".glsl .vert .frag .geom .comp", "Gleam": ".gleam", "Go": ".go",
    "GraphQL": ".graphql .gql", "Groovy": ".groovy .gradle jenkinsfile", "HCL": ".tf .hcl .tfvars", "HLSL": ".hlsl .fx", "HTML": ".html .htm .xhtml",
    "Haskell": ".hs .lhs", "Haxe": ".hx", "Idris": ".idr", "JSON": ".json .jsonc .json5", "Java": ".java", "JavaScript": ".js .mjs .cjs .jsx",
    "Julia": ".jl", "Just": "justfile", "Kotlin": ".kt .kts", "Lean": ".lean", "Less": ".less", "Lua": ".lua", "MATLAB": ".m", "Makefile": ".mk .mak makefile gnumakefile",
    "Markdown": ".md .markdown .mdx .qmd .rmd", "Meson": "meson.build", "Mojo": ".mojo", "Nim": ".nim .nims", "Nix": ".nix", "OCaml": ".ml .mli .mll .mly",
    "Objective-C": ".m", "Objective-C++": ".mm", "OpenCL": ".opencl", "PHP": ".php .phtml", "Pascal": ".pas .pp .dpr .lpr", "Perl": ".pl .pm .t", "Pony": ".pony",
    "PowerShell": ".ps1 .psm1 .psd1", "Prolog": ".pro .prolog .pl", "Protocol Buffer": ".proto", "Puppet": ".pp", "PureScript": ".purs",
    "Python": ".py .pyi .pyw .bzl wscript sconstruct", "R": ".r", "Racket": ".rkt", "Raku": ".raku .rakumod", "ReScript": ".res .resi",
    "reStructuredText": ".rst", "Ruby": ".rb .rake .gemspec rakefile gemfile", "Rust": ".rs", "SCSS": ".scss", "SQL": ".sql", "Sass": ".sass",
    "Scala": ".scala .sc .sbt", "Scheme": ".scm .ss .sld", "Shell": ".sh .bash .zsh .ksh .bats", "Solidity": ".sol", "Standard ML": ".sml .sig", "Stan": ".stan",
    "Starlark": ".star build.bazel workspace", "Stylus": ".styl", "Svelte": ".svelte", "Swift": ".swift", "SystemVerilog": ".sv .svh", "TOML": ".toml", "Tcl": ".tcl",
    "TeX": ".tex .sty .bib", "Thrift": ".thrift", "TypeScript": ".ts .tsx .mts .cts", "Typst": ".typ", "VHDL": ".vhd .vhdl", "Vala": ".vala", "Verilog": ".v .vh",
    "Vim Script": ".vim", "Visual Basic .NET": ".vb", "Vue": ".vue", "WGSL": ".wgsl", "WebAssembly": ".wat", "XSLT": ".xsl .xslt", "YAML": ".yml .yaml", "Zig": ".zig",
    "fish": ".fish", "jq": ".jq",
}  # fmt: skip
_TABLE: dict[str, list[str]] = {}
for _language, _names in _BY_LANGUAGE.items():
    for _name in _names.split():
        _TABLE.setdefault(_name, []).append(_language)
LANGUAGES = tuple(_BY_LANGUAGE)

# What tells the languages of one ending apart: the first that matches; without a match the last one named.
_TOLD_APART: dict[str, tuple[tuple[str, re.Pattern[str]], ...]] = {
    ".h": (
        ("Objective-C", re.compile(r"^\s*(?:@(?:interface|protocol|class|property|end)\b|#import\s)", re.MULTILINE)),
        ("C++", re.compile(r"^\s*(?:(?:template|namespace|class|public:|private:|protected:|using\s)|#include\s*<[a-z_]+>\s*$)|\bstd::", re.MULTILINE)),
        ("C", re.compile("")),
    ),
    ".m": (("Objective-C", re.compile(r"^\s*(?:@(?:interface|implementation|import|end)\b|#import\s|#include\s)", re.MULTILINE)), ("MATLAB", re.compile(""))),
    ".pl": (("Prolog", re.compile(r"^[^#]*:-", re.MULTILINE)), ("Perl", re.compile(""))),
    ".pp": (("Pascal", re.compile(r"^\s*(?:unit|program|interface|implementation|uses)\b", re.MULTILINE | re.IGNORECASE)), ("Puppet", re.compile(""))),
    ".v": (("Coq", re.compile(r"^\s*(?:Require|Theorem|Lemma|Definition|Proof|Inductive|Module|Section)\b", re.MULTILINE)), ("Verilog", re.compile(""))),
    ".ts": (("", re.compile(r"\A\s*<\?xml|\A\s*<!DOCTYPE TS")), ("TypeScript", re.compile(""))),
    ".cls": (("TeX", re.compile(r"\\(?:ProvidesClass|NeedsTeXFormat|documentclass)")), ("", re.compile(r"\AVERSION\b")), ("Apex", re.compile(""))),
}  # fmt: skip
_SHEBANG = re.compile(r"\A#![ \t]*\S*?(?:/env[ \t]+(?:-S[ \t]+)?(?:\w+=\S*[ \t]+)*)?([A-Za-z+]+)[\d.]*(?:[ \t].*)?$", re.MULTILINE)
_INTERPRETERS = {
    "sh": "Shell", "bash": "Shell", "zsh": "Shell", "dash": "Shell", "ksh": "Shell", "python": "Python", "pypy": "Python", "node": "JavaScript", "deno": "TypeScript",
    "ruby": "Ruby", "perl": "Perl", "php": "PHP", "lua": "Lua", "tclsh": "Tcl", "wish": "Tcl", "awk": "AWK", "gawk": "AWK", "fish": "fish", "Rscript": "R",
    "make": "Makefile", "escript": "Erlang", "elixir": "Elixir", "julia": "Julia", "groovy": "Groovy", "swift": "Swift", "racket": "Racket", "guile": "Scheme",
}  # fmt: skip
HEAD = 8192  # characters that are looked at


def known_name(name: str) -> bool:
    """Whether a file name alone says that it may be source code."""
    return name.lower() in _TABLE or _ending(name) in _TABLE or "." not in name


def language_of(name: str, content: str) -> str:
    """The language of a file; "" where it is none of the table. name: without folders."""
    lower = name.lower()
    found = _TABLE.get(lower)
    if found:
        return found[0]
    ending = _ending(name)
    head = content[:HEAD]
    if ending in _TOLD_APART:
        return next(language for language, pattern in _TOLD_APART[ending] if pattern.search(head))
    if ending in _TABLE:
        return _TABLE[ending][0]
    shebang = _SHEBANG.match(head) if "." not in name else None
    return _INTERPRETERS.get(shebang[1], "") if shebang else ""


def _ending(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""
