"""Finds plugins through entry points, collects what they provide, and remembers who provides it.

One pluggy manager holds all plugins. Faults of plugins are recorded, never raised, while plugins are found and listed:
`Plugins.failures` has those that cannot be imported or whose hooks misbehave, `Plugins.clashes` the names that two of them provide.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pluggy

from r1env.errors import PluginError, UnknownNameError, UsageError
from r1env.hooks import (
    HOOKS,
    KIND_OF,
    PROJECT,
    SINGULAR,
    BackendSpec,
    EngineSpec,
    EnvironmentSpec,
    HookSpecs,
    RecipeSpec,
    RewardSpec,
    Spec,
    TemplateSpec,
    TrainerSpec,
)
from r1env.importing import import_target, is_reference, load_object

if TYPE_CHECKING:
    from r1env.prompts import PromptTemplate
    from r1env.rewards import Reward

GROUP = "r1env"
NAME = re.compile(r"\w[\w.-]*")
"""What a plugin may call something: Gymnasium takes it in an id, and it holds no colon, which marks an import string."""

S = TypeVar("S", bound=Spec, covariant=True)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The plugin, its distribution and that one's version."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.plugin})"


@dataclass(frozen=True, slots=True)
class Provided(Generic[S]):
    """A spec and where it came from."""

    spec: S
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be imported, or whose hook raised or returned something wrong."""

    provenance: Provenance
    reason: str

    def __str__(self) -> str:
        return f"{self.provenance}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Clash:
    """A name that several plugins provide. It stands for none of their things until one of them is uninstalled."""

    kind: str
    name: str
    provided: tuple[Provided[Any], ...]

    def __str__(self) -> str:
        who = " and ".join(str(one.provenance) for one in self.provided)
        number = "two" if len(self.provided) == 2 else len(self.provided)
        return f"{number} plugins provide the {SINGULAR[self.kind]} {self.name!r}: {who}; uninstall one of them"


class Plugins:
    """Everything that plugins provide. `discover` reads the entry points; tests make their own from modules.

    Attributes:
        failures: what plugins did wrong so far. Those that failed while they were listed provide nothing.
    """

    def __init__(self, found: Mapping[Provenance, object], failures: Iterable[PluginFailure] = ()) -> None:
        """
        Args:
            found: plugin objects (modules, usually) that implement the hooks of `r1env.hooks`.
            failures: plugins that could not even be imported.
        """
        self.failures = list(failures)
        self._reported: set[tuple[Provenance, str]] = set()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        origins = _Origins()
        for provenance, plugin in reversed(list(found.items())):  # the manager calls the last one registered first
            self._register(provenance, plugin, origins)
        self._provided: dict[str, dict[str, list[Provided[Any]]]] = {kind: {} for kind in HOOKS}
        offered = {kind: self._call_registry(kind, origins) for kind in HOOKS}
        broken = {failure.provenance for failure in self.failures}
        for kind, provided in offered.items():
            for one in provided:
                if one.provenance not in broken:
                    self._add(kind, one)

    @classmethod
    def discover(cls) -> Plugins:
        """Load every installed plugin of the entry-point group `r1env`. Raises nothing on account of a plugin."""
        found: dict[Provenance, object] = {}
        failures = []
        for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
            dist = entry.dist
            provenance = Provenance(entry.name, dist.name if dist else "?", dist.version if dist else "?")
            try:
                found[provenance] = entry.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - importing a third-party module may raise anything, SystemExit too
                failures.append(PluginFailure(provenance, _one_line(error)))
        return cls(found, failures)

    @property
    def clashes(self) -> list[Clash]:
        """Names that more than one plugin provides."""
        return [
            Clash(kind, name, tuple(provided))
            for kind, by_name in self._provided.items()
            for name, provided in by_name.items()
            if len(provided) > 1
        ]

    def provided(self, kind: str) -> Mapping[str, Provided[Any]]:
        """Return everything of one kind (a key of `HOOKS`) by name; of a name that clashes, the first. `find` refuses such a name."""
        return {name: provided[0] for name, provided in self._provided[kind].items()}

    def listed(self, kind: str) -> list[Provided[Any]]:
        """Return everything of one kind, what clashes included."""
        return [one for provided in self._provided[kind].values() for one in provided]

    def find(self, spec_type: type[S], name: str) -> S:
        """Return the spec called `name`.

        Raises:
            UnknownNameError: no plugin provides it; the message has the nearest names and mentions plugins that failed.
            PluginError: several plugins provide it; the message names them.
        """
        kind = KIND_OF[spec_type]
        provided = self._provided[kind].get(name)
        if provided is None:
            hint = f"({len(self.failures)} plugins failed to load: see `r1env plugins --check`)" if self.failures else ""
            raise UnknownNameError(SINGULAR[kind], name, self._provided[kind], hint)
        if len(provided) > 1:
            raise PluginError(str(Clash(kind, name, tuple(provided))))
        return cast(S, provided[0].spec)

    def load(self, spec_type: type[Spec], name: str) -> Any:
        """Return the target of the spec called `name`, or the object at `module:attribute` or `file.py:attribute`.

        Raises:
            UnknownNameError, PluginError: as `find`; or the plugin's target cannot be imported.
            UsageError: nothing is at `module:attribute`.

        Example:
            >>> installed().load(EngineSpec, "scripted").__name__
            'make_scripted'
        """
        if is_reference(name):
            return load_object(name, SINGULAR[KIND_OF[spec_type]])
        return self._target(spec_type, name, import_target)

    def reward(self, name: str, **options: Any) -> Reward:
        """Return the reward of that name, or at `module:attribute` or `file.py:attribute`, with options set.

        Raises:
            UnknownNameError, PluginError, UsageError: as `load`; or it is no reward.
        """
        from r1env.rewards import as_reward  # here: listing plugins needs no pydantic, and Gymnasium's import lists them

        if is_reference(name):
            found = as_reward(self.load(RewardSpec, name), name)
        else:
            found = self._target(RewardSpec, name, lambda target: as_reward(import_target(target), name))
        return found.with_options(**options) if options else found

    def _target(self, spec_type: type[Spec], name: str, made: Callable[[Any], Any]) -> Any:
        """Return what `made` makes of the target of the spec called `name`; what is wrong with it is said with the plugin's name."""
        target = cast(Any, self.find(spec_type, name)).target
        try:
            return made(target)
        except (PluginError, UsageError) as error:
            kind = KIND_OF[spec_type]
            where = self._provided[kind][name][0].provenance
            raise PluginError(f"{SINGULAR[kind]} {name!r} of {where}: {error}") from error

    def template(self, name: str) -> PromptTemplate:
        """Return the prompt template of that name, or what is at `module:attribute` or `file.py:attribute`.

        Raises:
            UnknownNameError, PluginError, UsageError: as `load`; or it is no template.

        Example:
            >>> installed().template("boxed").chat
            True
        """
        from r1env.prompts import as_template

        return as_template(self.load(TemplateSpec, name), name)

    def environment(self, name: str) -> EnvironmentSpec:
        """Return the environment of that name (with or without `r1env/`), or the `EnvironmentSpec` at `module:attribute`.

        `name:value` is the environment `name` where its spec says which option the value is (see `EnvironmentSpec.argument`).

        Raises:
            UnknownNameError, PluginError, UsageError: as `load`; or what stands there is no `EnvironmentSpec`.
        """
        scheme, colon, value = name.removeprefix("r1env/").partition(":")
        if colon and scheme in self._provided["environments"] and (spec := self.find(EnvironmentSpec, scheme)).argument:
            return replace(spec, options={**spec.options, spec.argument: value})
        if not is_reference(name):
            return self.find(EnvironmentSpec, name.removeprefix("r1env/"))
        found = load_object(name, "environment")
        made = found() if callable(found) else found
        if not isinstance(made, EnvironmentSpec):
            raise UsageError(
                f"{name!r} is a {type(made).__name__}, not an r1env.EnvironmentSpec or a function that returns one"
            )
        return made

    def engine(self, name: str) -> EngineSpec:
        """Return the engine of that name, or one whose target is at `module:attribute`."""
        if is_reference(name):
            return EngineSpec(name, load_object(name, "engine"), "")
        return self.find(EngineSpec, name)

    def trainer(self, name: str) -> TrainerSpec:
        return self.find(TrainerSpec, name)

    def backend(self, name: str) -> BackendSpec:
        return self.find(BackendSpec, name)

    def recipe(self, name: str) -> RecipeSpec:
        return self.find(RecipeSpec, name)

    def listens(self, event: str) -> bool:
        """Return True when some plugin implements the event hook, so that a caller can save itself the call."""
        return bool(getattr(self._manager.hook, event).get_hookimpls())

    def notify(self, event: str, **arguments: Any) -> None:
        """Call an event hook of every plugin. A hook that raises is logged once and recorded; nothing is raised.

        Example:
            >>> installed().notify("r1env_scored", rollouts=(), scores=())
        """
        getattr(self._manager.hook, event)(**arguments)

    def _register(self, provenance: Provenance, plugin: object, origins: _Origins) -> None:
        """Register the plugin's hooks, each guarded: what one of them does wrong is recorded and costs no other plugin anything."""
        guarded = SimpleNamespace()
        for attribute in dir(plugin):
            try:
                function = getattr(plugin, attribute)
            except Exception:  # noqa: BLE001 - a property of a plugin object: no hook, whatever it raises
                continue
            options = getattr(function, f"{PROJECT}_impl", None)
            if not isinstance(options, dict) or not callable(function):
                continue
            hook = options.get("specname") or attribute
            if not hasattr(HookSpecs, hook):
                if not options.get("optionalhook"):
                    self.fail(provenance, f"implements {hook}, which is no hook of r1env")
            elif options.get("hookwrapper"):
                self.fail(provenance, f"{hook} uses hookwrapper=True; use wrapper=True")
            else:
                setattr(guarded, attribute, self._guard(function, hook, provenance, origins, wrapper=options["wrapper"]))
        try:
            self._manager.register(guarded, name=str(provenance))
        except (pluggy.PluginValidationError, ValueError) as error:  # an argument that the hook does not have
            self.fail(provenance, " ".join(str(error).split()))

    def _guard(
        self, function: Callable[..., Any], hook: str, provenance: Provenance, origins: _Origins, *, wrapper: bool
    ) -> Callable[..., Any]:
        """Return the function of a hook in a shell that records what it does wrong, and answers for it then."""
        kind = hook.removeprefix(f"{PROJECT}_")
        if kind not in HOOKS:
            report = functools.partial(self._report_once, provenance, hook)
            return _guarded_wrapper(function, report) if wrapper else _guarded(function, report, None)
        report = functools.partial(self.fail, provenance)
        if wrapper:
            origins.wrappers[kind] = provenance
            return _guarded_wrapper(function, report, functools.partial(_check_lists, hook, HOOKS[kind]))

        def note(specs: Any) -> None:
            _check_specs(hook, HOOKS[kind], specs)
            origins.note(kind, specs, provenance)

        return _guarded(function, report, [], note)

    def _call_registry(self, kind: str, origins: _Origins) -> list[Provided[Any]]:
        lists = getattr(self._manager.hook, f"{PROJECT}_{kind}")()
        return [Provided(spec, origins.of(kind, spec)) for specs in lists for spec in specs]

    def _add(self, kind: str, one: Provided[Any]) -> None:
        name = one.spec.name
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.fail(one.provenance, f"the {SINGULAR[kind]} {name!r}: a name has letters, digits, '_', '-' and '.'")
            return
        same_name = self._provided[kind].setdefault(name, [])
        if all(one.spec != other.spec for other in same_name):  # one spec that is provided twice is no clash
            same_name.append(one)

    def fail(self, provenance: Provenance, reason: str) -> None:
        """Record what a plugin did wrong."""
        self.failures.append(PluginFailure(provenance, reason))

    def _report_once(self, provenance: Provenance, hook: str, reason: str) -> None:
        """Record and log a fault of an event hook, the first time that this plugin's hook has one."""
        if (provenance, hook) not in self._reported:
            self._reported.add((provenance, hook))
            self.fail(provenance, f"{hook}: {reason}")
            logger.warning("the hook %s of %s failed, which is said once and ignored: %s", hook, provenance, reason)


class _Origins:
    """Which plugin provides which spec. The manager asks all plugins in one call, so each hook notes what it returns.

    Attributes:
        wrappers: the plugin that wraps the registry of a kind; the last one where there are several.
    """

    def __init__(self) -> None:
        self.wrappers: dict[str, Provenance] = {}
        self._by_identity: dict[int, tuple[Any, Provenance]] = {}  # with the spec, so that nothing else gets its id
        self._by_name: dict[tuple[str, object], Provenance] = {}

    def note(self, kind: str, specs: list[Any], provenance: Provenance) -> None:
        for spec in specs:
            self._by_identity[id(spec)] = (spec, provenance)
            self._by_name.setdefault((kind, spec.name), provenance)

    def of(self, kind: str, spec: Any) -> Provenance:
        """Return the plugin of a spec. Of one that a wrapper made it is that of the spec it replaces, else the wrapper's."""
        if id(spec) in self._by_identity:
            return self._by_identity[id(spec)][1]
        return self._by_name.get((kind, spec.name)) or self.wrappers[kind]


Report = Callable[[str], None]


def _guarded(
    function: Callable[..., Any], report: Report, fallback: Any, check: Callable[[Any], None] | None = None
) -> Callable[..., Any]:
    """Return the function in a shell that reports what it raises, or what `check` raises of its result, and returns `fallback`."""

    @functools.wraps(function)
    def shell(*arguments: Any) -> Any:
        try:
            result = function(*arguments)
            if check is not None:
                check(result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a third-party hook may raise anything: it is reported by name, see errors.py
            report(_one_line(error))
            return fallback
        return result

    return shell


def _guarded_wrapper(
    function: Callable[..., Any], report: Report, check: Callable[[Any], None] | None = None
) -> Callable[..., Any]:
    """As `_guarded`, for a pluggy wrapper: one that fails changes nothing of the result."""

    @functools.wraps(function)
    def shell(*arguments: Any) -> Generator[None, Any, Any]:
        wrapper: Generator[None, Any, Any] | None = None
        try:
            wrapper = function(*arguments)
            next(wrapper)
        except Exception as error:  # noqa: BLE001 - as in `_guarded`
            report(_one_line(error))
            wrapper = None
        result = yield
        if wrapper is None:
            return result
        try:
            wrapper.send(result)
            wrapper.close()
            report("the wrapper yields more than once")
        except StopIteration as stop:
            try:
                if check is not None:
                    check(stop.value)
            except TypeError as error:
                report(str(error))
            else:
                return stop.value
        except Exception as error:  # noqa: BLE001 - as in `_guarded`
            report(_one_line(error))
        return result

    return shell


def _check_specs(hook: str, spec_type: type, specs: Any) -> None:
    """
    Raises:
        TypeError: a registry hook returned something other than a list of its specs.
    """
    if not isinstance(specs, list | tuple):
        raise TypeError(f"{hook} returned {type(specs).__name__}; it must return a list of {spec_type.__name__}")
    for spec in specs:
        if not isinstance(spec, spec_type):
            raise TypeError(f"{hook} returned a {type(spec).__name__}; it must return a list of {spec_type.__name__}")


def _check_lists(hook: str, spec_type: type, lists: Any) -> None:
    """As `_check_specs`, for the result of a wrapper: the lists of all plugins."""
    if not isinstance(lists, list | tuple):
        raise TypeError(
            f"the wrapper of {hook} returned {type(lists).__name__}; it must return the list of lists that it got, changed"
        )
    for specs in lists:
        _check_specs(f"the wrapper of {hook}", spec_type, specs)


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@functools.cache
def installed() -> Plugins:
    """Return the plugins of this Python environment, found on first use. Logs a warning for each that is broken or clashes."""
    plugins = Plugins.discover()
    for fault in (*plugins.failures, *plugins.clashes):
        logger.warning(
            "r1env plugin: %s", fault
        )  # not `warnings`: an error under -W error, and this runs when Gymnasium is imported
    return plugins


def get_reward(name: str, **options: Any) -> Reward:
    """Return the installed reward of that name, or the one at `module:attribute` or `file.py:attribute`, with options set.

    Example:
        >>> get_reward("math").name
        'math'
    """
    return installed().reward(name, **options)
