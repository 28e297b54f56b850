"""Find objects by name: import strings (`module:attribute`, `file.py:attribute`) and modules loaded from files.

`import_target` serves plugins, whose packages are installed. `load_object` serves users: it also finds modules in the current folder
and files by their path, and its errors say what was looked for and where. Nothing here imports another part of r1env but its errors.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from r1env.errors import PluginError, UsageError


def import_target(target: Any) -> Any:
    """Return the object at the import string `module:attribute`; the attribute may be dotted. Return any object but a string unchanged.

    Raises:
        PluginError: it cannot be imported; the message gives the cause.
    """
    if not isinstance(target, str):
        return target
    try:
        return pkgutil.resolve_name(target)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"cannot import {target!r}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a third-party module may raise anything, SystemExit too
        if isinstance(error, ValueError) and not is_reference(target):
            raise PluginError(f"cannot import {target!r}: write module:attribute") from error
        raise PluginError(f"cannot import {target!r}: {_raised(target.partition(':')[0], error)}") from error


def is_reference(name: str) -> bool:
    """Return True for `module:attribute` and `file.py:attribute`, False for a plain name. Names of plugins contain no colon."""
    return ":" in name


def load_object(reference: str, kind: str) -> Any:
    """Return the object at `module:attribute` or `path/to/file.py:attribute`.

    A module is searched on Python's path, then in the current folder. A file is run again only if its content has changed; it can import
    modules from its own folder.

    Args:
        kind: what the object should be ("reward"), for the message.

    Raises:
        UsageError: there is no such module, file or attribute, or importing it raises. The message says in one line what was searched
            and where.

    Example:
        >>> load_object("math:tau", "number")
        6.283185307179586
    """
    where, _, attribute = reference.rpartition(":")
    wanted = f"cannot load the {kind} {reference!r}"
    if not where or not attribute:
        raise _refusal(wanted, "write module:attribute or file.py:attribute")
    module = _file_module(Path(where), wanted) if where.endswith(".py") else _module(where, wanted)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            close = difflib.get_close_matches(part, dir(found), n=3, cutoff=0.5) or _public_names(found)
            known = f"; it has {', '.join(close)}" if close else ""
            raise _refusal(wanted, f"{_place(module)} has no {part!r}{known}") from None
        except Exception as error:  # a lazy module attribute, whose import fails
            raise _refusal(wanted, _raised(where, error)) from error
    return found


def accepted(function: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """Return those of the offered arguments that a function takes by name; all of them if it takes `**anything`.

    Example:
        >>> accepted(lambda logprobs, mask: None, mask=1, clip_low=0.2)
        {'mask': 1}
    """
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return offered
    return {key: value for key, value in offered.items() if key in parameters}


def absolute_reference(name: str) -> str:
    """Return a reference to a file with the file's absolute path; any other name as it is."""
    where, colon, attribute = name.rpartition(":")
    return f"{Path(os.path.expanduser(where)).absolute()}:{attribute}" if colon and where.endswith(".py") else name


def source_digest(thing: Any) -> str | None:
    """Return the SHA-256 of the file that defines a function, class or module; None if there is no file (a notebook, C code)."""
    module = getattr(thing, "__module__", None)
    if isinstance(module, str) and is_file_module(module):
        return hashlib.sha256(getattr(sys.modules[module], SOURCE)).hexdigest()
    try:
        file = inspect.getsourcefile(thing)
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None


def module_from_source(path: str, source: bytes) -> ModuleType:
    """Run a Python file as a module and return the module. The same content is run only once.

    The content is an argument, so that a worker runs the code that its caller has loaded, even if the file has changed since.

    Raises:
        Exception: the exception that running the file raises.
    """
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape") + b"\0" + source).hexdigest()
    name = f"{FILE_MODULE}{Path(path).stem}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path} is not the name of a Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__[SOURCE] = source
    folder = str(Path(path).parent)
    if folder not in sys.path:
        sys.path.append(folder)  # behind everything else: a file that is called like a library hides nothing
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def is_file_module(name: str) -> bool:
    """Return True for the name of a module that `module_from_source` created in this process."""
    return name.startswith(FILE_MODULE) and hasattr(sys.modules.get(name), SOURCE)


FILE_MODULE = "r1env_file_"
"""How the names of modules made from files begin. Such a module cannot be imported by its name in another process."""

SOURCE = "__r1env_source__"
"""Where such a module keeps the content that it was made from."""


def _file_module(path: Path, wanted: str) -> ModuleType:
    try:
        path = Path(os.path.expanduser(path)).absolute()  # raises ValueError for a user whose name holds a null character
        source = path.read_bytes()
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        raise _refusal(wanted, f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return module_from_source(str(path), source)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file may raise anything, SystemExit too
        raise _refusal(wanted, _raised(path, error)) from error


def _module(name: str, wanted: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise _refusal(wanted, _raised(name, error)) from error  # a module that it imports is missing
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in `_file_module`
        raise _refusal(wanted, _raised(name, error)) from error
    here, top = Path.cwd(), name.partition(".")[0]
    # Not before: a folder `datasets` or `wandb` in the current folder would pass for the library wherever that is optional.
    in_folder = top.isidentifier() and any(os.path.isfile(here / file) for file in (f"{top}.py", f"{top}/__init__.py"))
    if str(here) in sys.path or not in_folder:
        raise _refusal(wanted, f"no module {name!r}, neither installed nor in {here}")
    sys.path.append(str(here))
    importlib.invalidate_caches()
    return _module(name, wanted)


def _refusal(wanted: str, why: str) -> UsageError:
    """Return an error of one line, whatever is in the name of a file."""
    message = f"{wanted}: {why}"
    return UsageError(message if message.isprintable() else message.encode("unicode_escape").decode("ascii"))


def _raised(what: object, error: BaseException) -> str:
    """Say in one line what importing something raised, and in which line of its file."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(("<frozen", __file__)):
            line = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        line = (error.filename, error.lineno or 0)
    place = f" ({Path(line[0]).name}, line {line[1]})" if line else ""
    said = (str(error).splitlines() or [""])[0]
    return f"importing {what} raised {type(error).__name__}: {said}{place}"


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _public_names(thing: Any) -> list[str]:
    """Return names that a module defines itself, a few of them."""
    own = getattr(thing, "__name__", None)
    names = (
        name for name, value in vars(thing).items() if getattr(value, "__module__", None) == own or hasattr(value, "function")
    )
    return [name for name in names if not name.startswith("_")][:8] if isinstance(thing, ModuleType) else []
