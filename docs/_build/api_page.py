"""The page of the Python interface, from ``regbench.__all__`` and its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import regbench

_GROUPS = {
    "Align images": ("align", "load", "Aligner", "Alignment"),
    "Roles": ("Registrator", "Translator", "TrainingStrategy", "Dataset"),
    "What a strategy says": ("Context", "Stage", "Objective", "Shared", "module_named"),
    "What components hand each other": (
        "Batch", "Pair", "SelfPair", "Unpaired", "PairInfo", "Registration", "Matches", "Estimate",
        "Card", "Split", "PairImages", "PairErrors",
    ),
    "Settings and registration": ("ComponentConfig", "Steps", "Register"),
    "Errors": ("RegbenchError", "UsageError", "DataError", "PluginError"),
    "Modules": ("geometry", "ops", "schedules", "whole_batch"),
}  # fmt: skip
_ALIASES = {
    "Estimate": "`Callable[[Tensor, Tensor], Tensor]`: source and target to the homography `(B, 3, 3)`, source to "
    "target pixels, as currently estimated; no gradients.",
    "Split": "`Literal['train', 'test']`: the splits of a data set.",
    "Shared": "`dict[str, Any]`: what the objectives of one step have in common; `Stage.shared` fills it.",
    "Steps": "`int`, for settings of a `ComponentConfig`: a number of steps, on which the budget acts.",
}


def api_page() -> str:
    """Every public name with its signature and its docstring; raises AssertionError where one is in no group."""
    listed = [name for names in _GROUPS.values() for name in names]
    assert sorted(listed) == sorted(set(regbench.__all__) - {"API_VERSION", "__version__", "hookimpl"})
    parts = [
        "# Python\n",
        "Written from the docstrings by `docs/_build/reference.py`. What stands here is what a plugin may rely on;",
        "all of it is imported from `regbench`. `regbench.API_VERSION` is the version of this interface and",
        "`regbench.hookimpl` marks the functions that register components, as the",
        "[guides](../guides/write-a-strategy.md) show.\n",
    ]
    for head, names in _GROUPS.items():
        parts.append(f"## {head}\n")
        for name in names:
            parts += _described(name, getattr(regbench, name))
    return "\n".join(parts).rstrip() + "\n"


def _described(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}\n"
    if isinstance(thing, ModuleType):
        yield from docstring(thing.__doc__)
        yield from _functions(thing)
        return
    if inspect.isclass(thing):
        bases = ", ".join(base.__name__ for base in thing.__bases__ if base is not object)
        yield f"```text\nclass {name}({bases})\n```\n" if bases else f"```text\nclass {name}\n```\n"
        yield from docstring(thing.__doc__)
        for method, function in vars(thing).items():
            function = function.__func__ if isinstance(function, classmethod | staticmethod) else function
            if not method.startswith("_") and inspect.isfunction(function):
                yield f"#### {name}.{method}\n\n```text\n{method}{_signature(function)}\n```\n"
                yield from docstring(function.__doc__)
    elif inspect.isfunction(thing):
        yield f"```text\n{name}{_signature(thing)}\n```\n"
        yield from docstring(thing.__doc__)
    else:
        yield f"{_ALIASES[name]}\n"


def _functions(module: ModuleType) -> Iterator[str]:
    names = getattr(module, "__all__", None) or [n for n, t in vars(module).items() if _is_of(t, module)]
    yield "| name | what it does |"
    yield "|---|---|"
    for name in sorted(names):
        first = inspect.cleandoc(getattr(module, name).__doc__ or "").partition("\n\n")[0]
        yield f"| `{name}` | {_inline(first).replace('|', chr(92) + '|')} |"
    yield ""


def _is_of(thing: Any, module: ModuleType) -> bool:
    return inspect.isfunction(thing) and thing.__module__ == module.__name__ and not thing.__name__.startswith("_")


def _signature(function: Any) -> str:
    """The signature without ``self`` and the quotes of annotations; one argument a line where it is long."""
    signature = inspect.signature(function)
    shown = [str(p) for p in signature.parameters.values() if p.name != "self"]
    if any(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values()):
        first = next(i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY)
        shown.insert(first - ("self" in signature.parameters), "*")
    back = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    line = f"({', '.join(shown)}){back}"
    if len(line) > 88:
        line = "(\n" + "".join(f"    {argument},\n" for argument in shown) + f"){back}"
    return re.sub(r"(: )'([^']*)'", r"\1\2", line)


def docstring(text: str | None) -> Iterator[str]:
    """A docstring as Markdown: what is indented is a list, or code after ``::``, or a paragraph after Returns."""
    before, text = "", inspect.cleandoc(text or "")
    if re.search(r"^\* ", text, re.M):
        text = re.sub(r"\n {2}(?=\S)", " ", text)  # what goes on in the next line
    for part in re.findall(r"(?:^(?! ).+\n?)+|(?:^(?: .*)?\n?)+?(?=^\S|\Z)", text, re.M):
        if not part.strip():
            continue
        if not part.strip("\n").startswith(" "):
            before = part.strip()
            if before.startswith("* "):
                yield "\n".join(f"* {_inline(line[2:])}" for line in before.splitlines()) + "\n"
                continue
            yield _inline(re.sub(r"::$", ":", before)) + "\n"
            continue
        body = inspect.cleandoc("\n" + part)
        if before.endswith("::"):
            yield f"```text\n{body}\n```\n"
        elif before in ("Returns:", "Yields:"):
            yield _inline(body) + "\n"
        else:
            yield from (_entry(entry) for entry in re.split(r"\n+(?=\S)", body))
            yield ""


def _entry(text: str) -> str:
    name, colon, told = text.partition(":")
    return f"* `{name}`: {_inline(told)}" if colon and re.fullmatch(r"[*\w]+", name) else f"* {_inline(text)}"


def _inline(text: str) -> str:
    """Text of one paragraph: roles and double backticks as code, nothing taken for HTML."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?([\w]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")
    parts = text.split("`")
    return "`".join(p if i % 2 else p.replace("<", "&lt;").replace("[", "\\[") for i, p in enumerate(parts))
