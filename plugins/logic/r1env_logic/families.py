"""Families of procedural tasks with a difficulty level, a worked solution and a checker: `FAMILIES` lists them, `procedural` scores them.

A family is a few pure functions. `draw` makes the facts of a problem at a level, as plain data; `pose` turns the facts into the question,
the reference answer and the worked solution, or rejects facts that make a bad problem; `check` compares an answer with the facts. The facts
determine the problem, and a hash of them, or of a part of them, decides its split.
"""

from __future__ import annotations

import datetime
import functools
import heapq
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations, pairwise
from random import Random
from typing import Any, cast

from r1env import Score, Status, Task, TaskKind, UsageError, parse_response, reward
from r1env.data.sources import Split, split_of
from r1env.errors import NoSplitError, UnknownNameError
from r1env_logic.countdown import ExpressionError, evaluate
from r1env_logic.curriculum import Curriculum
from r1env_logic.options import check_count

Facts = dict[str, Any]
"""What is asked, as data that JSON can hold."""

MAX_ANSWER = 2_000  # characters; the longest reference answer, a zebra puzzle of five houses, has about 250
MAX_DRAWS = 10_000  # draws for one task; one in ten belongs to the split `test`, and most have a unique answer
CACHED_TASKS = 4_096  # of a slow family, per source: two evaluations of the same tasks generate them once


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, its reference answer, and a worked solution in lines. The last line of a task's trace states the answer."""

    question: str
    answer: str
    steps: Sequence[str]


@dataclass(frozen=True, slots=True)
class Family:
    """A family of tasks.

    Attributes:
        draw: (random generator, level) → facts.
        pose: facts → the problem; None where it has no unique answer.
        check: (given answer, facts, reference answer) → why the answer is wrong; empty where it is right.
        levels: number of levels, from 1; the mean length of the worked solution rises with each.
        form: what the answer looks like, put behind the question.
        key: facts → what decides the split. Problems with equal facts must have equal keys.
        slow: keep generated tasks in a cache.
    """

    draw: Callable[[Random, int], Facts]
    pose: Callable[[Facts], Problem | None]
    check: Callable[[str, Facts, str], str]
    levels: int
    form: str
    key: Callable[[Facts], str] = lambda facts: _identity(facts)
    slow: bool = False
    kind: TaskKind = TaskKind.LOGIC


def family_tasks(
    family: str,
    level: int | str = 1,
    split: Split = "all",
    raise_at: float = 0.8,
    lower_at: float = 0.3,
    window: int = 64,
    review: float = 0.2,
) -> FamilySource:
    """Return tasks of one family.

    Args:
        family: a name in `FAMILIES`.
        level: a level, from 1; a range such as `"1-3"`, whose levels are equally frequent; or `"auto"`, which follows the success rate
            (see `r1env_logic.curriculum.Curriculum`). Outside of the split `train`, `"auto"` means all levels.
        split: `train`, `test` or `all`; train and test share no problem, at any level.
        raise_at, lower_at, window, review: of the curriculum.

    Raises:
        UsageError: there is no such family, level or split, or the curriculum's thresholds are out of order.

    Example:
        >>> family_tasks("base-arithmetic", level=2, split="test").task(0).metadata["level"]
        2
    """
    if family not in FAMILIES:
        raise UnknownNameError("family of tasks", family, FAMILIES)
    if split not in ("train", "test", "all"):
        raise NoSplitError(f"unknown split {split!r}; known: train, test, all")
    curriculum = Curriculum(FAMILIES[family].levels, raise_at, lower_at, window, review)
    adapts = level == "auto" and split == "train"
    return FamilySource(family, _levels(level, FAMILIES[family].levels), split, curriculum if adapts else None)


def _levels(level: int | str, most: int) -> tuple[int, int]:
    """Return the lowest and the highest level.

    Raises:
        UsageError: it is neither a level, nor a range of them, nor `auto`.
    """
    if level == "auto":
        return 1, most
    if isinstance(level, str) and (found := re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", level)):
        low, high = int(found[1]), int(found[2])
        if 1 <= low <= high <= most:
            return low, high
    elif isinstance(level, int):
        check_count("level", level, 1, most)
        return level, level
    raise UsageError(f"level={level!r}: it must be a level from 1 to {most}, a range such as '1-{most}', or 'auto'")


class FamilySource:
    """An endless source of tasks of one family. Without a curriculum, task `index` under `seed` is always the same.

    With a curriculum, a task depends on the level as well, which `observe` changes; `state` and `restore` carry it through a checkpoint.
    """

    splits = ("train", "test")

    def __init__(self, name: str, levels: tuple[int, int], split: Split, curriculum: Curriculum | None = None) -> None:
        self._name, self._family = name, FAMILIES[name]
        self._levels, self._split, self._curriculum = levels, split, curriculum
        # One cache a source, so that it is freed with the source.
        self._make = functools.lru_cache(CACHED_TASKS)(self._generate) if self._family.slow else self._generate

    @property
    def size(self) -> None:
        return None

    def split(self, name: str) -> FamilySource:
        if name not in self.splits:
            raise NoSplitError(f"unknown split {name!r}; known: {', '.join(self.splits)}")
        return FamilySource(self._name, self._levels, cast(Split, name), self._curriculum if name == "train" else None)

    def task(self, index: int, seed: int = 0) -> Task:
        if index < 0:
            raise IndexError(index)
        return self._make(index, seed, 0 if self._curriculum is None else self._curriculum.level)

    def observe(self, task: Task, success: float) -> None:
        """Tell the curriculum, where there is one, how well a task was solved, from 0 to 1."""
        if self._curriculum is not None and task.metadata.get("family") == self._name:
            self._curriculum.observe(task.metadata["level"], success)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened; empty without a curriculum."""
        return {} if self._curriculum is None else self._curriculum.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        if self._curriculum is not None and state:
            self._curriculum.restore(state)

    def metrics(self) -> dict[str, float]:
        return {} if self._curriculum is None else {"level": float(self._curriculum.level)}

    def _generate(self, index: int, seed: int, current: int) -> Task:
        """Return a task.

        Args:
            current: the level of the curriculum; 0 without one.
        """
        rng = Random(f"{self._name} {seed} {index}")
        level = rng.randint(*self._levels)
        if self._curriculum is not None:
            level = self._curriculum.draw(rng, current)
        for _ in range(MAX_DRAWS):
            facts = self._family.draw(rng, level)
            key = self._family.key(facts)
            if self._split not in ("all", split_of(key)):
                continue  # before the problem is solved, which is what takes time
            problem = self._family.pose(facts)
            if problem is not None:
                return _task(self._name, self._family, level, facts, problem)
        raise UsageError(f"{self._name!r} gave no task of level {level} for the split {self._split!r} in {MAX_DRAWS:,} draws")


def _task(name: str, family: Family, level: int, facts: Facts, problem: Problem) -> Task:
    question = (
        f"{problem.question}\nWrite only the answer inside <answer></answer>, for example <answer>{family.form}</answer>."
    )
    trace = "\n".join([*problem.steps, f"So the answer is: {problem.answer}"])
    return Task(
        id=f"{name}-{blake2b(_identity(facts).encode(), digest_size=10).hexdigest()}",
        prompt=({"role": "user", "content": question},),
        answer=problem.answer,
        kind=family.kind,
        metadata={"family": name, "level": level, "facts": facts, "trace": trace},
    )


def _identity(facts: Facts) -> str:
    """Return what makes two problems the same one, as text. Names of people are no part of it."""
    return json.dumps({name: facts[name] for name in facts if name != "names"})


@reward(name="procedural", isolation="inline")
def procedural(completion: str, task: Task) -> Score:
    """Return 1 if the only `<answer>` block solves the task, by the checker of its family.

    The checkers accept every right answer where there are several (expressions, paths), and read the answer's form leniently (case,
    spaces, `is` or a colon) but completely: an answer with something else beside it is wrong. Their time is linear in the answer.

    Example:
        >>> task = family_tasks("sorting").task(0)
        >>> procedural(f"<answer>{task.answer}</answer>", task).value
        1.0
    """
    family = FAMILIES.get(str(task.metadata.get("family")))
    if family is None or "facts" not in task.metadata or task.answer is None:
        return Score(value=None, status=Status.UNPARSEABLE, reason="the task is of none of the procedural families")
    given = parse_response(completion).answer
    if not given:
        return Score(value=0.0, status=Status.NO_ANSWER, reason="there is not exactly one filled <answer> block")
    if len(given) > MAX_ANSWER:
        return Score(value=0.0, status=Status.UNPARSEABLE, reason=f"the answer is longer than {MAX_ANSWER:,} characters")
    fault = family.check(given, task.metadata["facts"], task.answer)
    if fault:
        return Score(value=0.0, status=Status.WRONG, reason=fault[:200])
    return Score(value=1.0)


def _equals(normal: Callable[[str], object]) -> Callable[[str, Facts, str], str]:
    """Return a checker that compares an answer with the reference in a normal form; None is no form of anything."""

    def check(given: str, _facts: Facts, answer: str) -> str:
        form = normal(given)
        if form is None:
            return f"cannot read {given[:60]!r}"
        return "" if form == normal(answer) else f"{given[:60]!r} is not the answer"

    return check


def _numbered(items: Sequence[str]) -> str:
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


# Knights and knaves: everybody makes one statement. A set of worlds is an integer: bit w is set where world w belongs to it, and bit i of
# w says whether person i is a knight. So a statement, too, is the set of worlds where it is true.

PEOPLE = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jane", "Kim", "Leo")
_JOINTS = {"and": "and", "or": "or", "iff": "if and only if"}


def _draw_people(rng: Random, level: int) -> Facts:
    count = level + 1
    world = rng.getrandbits(count)
    statements = []
    for person in range(count):
        statement = _draw_statement(rng, count)
        while bool(_worlds(statement, count) >> world & 1) != bool(world >> person & 1):
            statement = _draw_statement(rng, count)
        statements.append(statement)
    return {"statements": statements, "names": rng.sample(PEOPLE, count)}


def _draw_statement(rng: Random, count: int) -> list[Any]:
    def claim() -> list[Any]:
        return [rng.choice(("knight", "knave")), rng.randrange(count)]

    shape = rng.randrange(6)
    if shape == 0:
        return claim()
    if shape == 1:
        return ["count", rng.randint(1, count - 1)]
    if shape == 2:
        return ["same", *rng.sample(range(count), 2)]
    left, right = claim(), claim()
    while right[1] == left[1]:
        right = claim()
    return [rng.choice(tuple(_JOINTS)), left, right]


@functools.lru_cache(maxsize=64)
def _knight_worlds(person: int, count: int) -> int:
    return sum(1 << world for world in range(1 << count) if world >> person & 1)


@functools.lru_cache(maxsize=64)
def _worlds_with(knights: int, count: int) -> int:
    return sum(1 << world for world in range(1 << count) if world.bit_count() == knights)


def _worlds(statement: Sequence[Any], count: int) -> int:
    """Return the worlds where a statement is true."""
    shape, *parts = statement
    everything = (1 << (1 << count)) - 1
    if shape == "knight":
        return _knight_worlds(parts[0], count)
    if shape == "knave":
        return everything ^ _knight_worlds(parts[0], count)
    if shape == "count":
        return _worlds_with(parts[0], count)
    if shape == "same":
        return everything ^ _knight_worlds(parts[0], count) ^ _knight_worlds(parts[1], count)
    left, right = (_worlds(part, count) for part in parts)
    return left & right if shape == "and" else left | right if shape == "or" else everything ^ left ^ right


def _statement_text(statement: Sequence[Any], names: Sequence[str]) -> str:
    shape, *parts = statement
    if shape in ("knight", "knave"):
        return f"{names[parts[0]]} is a {shape}"
    if shape == "count":
        return f"exactly {parts[0]} of us {'is a knight' if parts[0] == 1 else 'are knights'}"
    if shape == "same":
        return f"{names[parts[0]]} and {names[parts[1]]} are of the same kind"
    return f" {_JOINTS[shape]} ".join(_statement_text(part, names) for part in parts)


def _pose_people(facts: Facts) -> Problem | None:
    statements, names = facts["statements"], facts["names"]
    count = len(names)
    left = (1 << (1 << count)) - 1
    after = []
    for person, statement in enumerate(statements):
        # A knight's statement is true and a knave's false: keep the worlds where person and statement agree.
        left &= ~(_knight_worlds(person, count) ^ _worlds(statement, count))
        after.append(left)
    if left.bit_count() != 1:
        return None
    steps = [f"Write K for a knight and N for a knave, in the order {', '.join(names)}."]
    for name, worlds in zip(names, after, strict=True):
        cases = [_case_text(world, count) for world in _members(worlds)]
        steps.append(f"{name} is a knight exactly if the statement is true. Cases left: {' '.join(cases)}")
    world = left.bit_length() - 1
    answer = ", ".join(f"{name} is a {'knight' if world >> person & 1 else 'knave'}" for person, name in enumerate(names))
    said = "\n".join(f'{name} says: "{_statement_text(one, names)}."' for name, one in zip(names, statements, strict=True))
    question = (
        "On an island, knights always tell the truth and knaves always lie. "
        f"Everybody is one or the other. You meet {', '.join(names[:-1])} and {names[-1]}.\n{said}\nWho is what?"
    )
    return Problem(question, answer, steps)


def _members(worlds: int) -> Iterator[int]:
    """Yield the worlds of a set in order."""
    while worlds:
        lowest = worlds & -worlds
        yield lowest.bit_length() - 1
        worlds ^= lowest


@functools.lru_cache(maxsize=1024)
def _case_text(world: int, count: int) -> str:
    return "".join("K" if world >> person & 1 else "N" for person in range(count))


_ROLE = re.compile(r"(?:\(?[0-9]{1,2}[.)] ?)?(\w+) ?(?::|=|is an?|is) ?(knight|knave)")


def _read_roles(text: str) -> dict[str, str] | None:
    """Return name → role; None where a clause says something else, or a name comes twice."""
    roles: dict[str, str] = {}
    for part in re.split(r"[,;\n]|\band\b", text.lower().strip().rstrip(".")):
        clause = " ".join(part.split())
        if not clause:
            continue
        found = _ROLE.fullmatch(clause)
        if found is None or found[1] in roles:
            return None
        roles[found[1]] = found[2]
    return roles


# Zebra puzzles: houses in a row, attributes whose values each belong to one house. An item is a number, attribute * houses + value; its
# domain is the set of houses where it may be, as bits.

ATTRIBUTES = (
    ("the person", ("Anna", "Boris", "Carla", "David", "Emma")),
    ("the colour", ("red", "green", "blue", "white", "yellow")),
    ("the drink", ("tea", "coffee", "milk", "juice", "water")),
    ("the pet", ("cat", "dog", "fish", "horse", "zebra")),
)
_ZEBRA_SIZES = ((3, 2), (3, 3), (4, 3), (4, 4), (5, 4))  # houses, attributes


def _draw_zebra(rng: Random, level: int) -> Facts:
    houses, attributes = _ZEBRA_SIZES[level - 1]
    places = _draw_places(rng, houses, attributes)
    return {"houses": houses, "attributes": attributes, "places": places, "seed": rng.getrandbits(32)}


def _enough_clues(rng: Random, houses: int, places: list[int]) -> list[list[Any]]:
    """Return true clues that leave one arrangement: each excludes an arrangement that those before it allow."""
    clues: list[list[Any]] = []
    everywhere = [(1 << houses) - 1] * len(places)
    while True:
        other = next((found for found in _arrangements(everywhere, clues, houses) if found != places), None)
        if other is None:
            return clues
        clue = _draw_clue(rng, houses, places)
        while _holds(clue, other):
            clue = _draw_clue(rng, houses, places)
        clues.append(clue)


def _draw_places(rng: Random, houses: int, attributes: int) -> list[int]:
    """Return an arrangement, item → house."""
    return [place for _ in range(attributes) for place in rng.sample(range(houses), houses)]


def _draw_clue(rng: Random, houses: int, places: Sequence[int]) -> list[Any]:
    """Return a random clue that is true of the arrangement `places`."""
    if rng.random() < 0.15:
        item = rng.randrange(len(places))
        return ["house", item, places[item]]
    while True:
        one, two = rng.sample(range(len(places)), 2)
        if one // houses == two // houses:
            continue
        distance = places[two] - places[one]
        if distance == 0:
            return ["same", one, two]
        if distance < 0:
            one, two = two, one
        if abs(distance) > 1:
            return ["left", one, two]
        return [rng.choice(("next", "just left", "left")), one, two]


def _holds(clue: Sequence[Any], places: Sequence[int]) -> bool:
    shape, one, two = clue
    if shape == "house":
        return bool(places[one] == two)
    distance: int = places[two] - places[one]
    return {"same": distance == 0, "left": distance > 0, "just left": distance == 1, "next": abs(distance) == 1}[shape]


def _narrowed(clue: Sequence[Any], domains: Sequence[int]) -> list[tuple[int, int]]:
    """Return (item, houses that the clue leaves it) for the items of a clue."""
    shape, one, two = clue
    if shape == "house":
        return [(one, domains[one] & 1 << two)]
    left, right = domains[one], domains[two]
    if shape == "same":
        return [(one, left & right), (two, left & right)]
    if shape == "just left":
        return [(one, left & right >> 1), (two, right & left << 1)]
    if shape == "next":
        return [(one, left & (right >> 1 | right << 1)), (two, right & (left >> 1 | left << 1))]
    # Left of: below the highest house of the one, above the lowest house of the other.
    below = (1 << max(right.bit_length() - 1, 0)) - 1
    above = ~((left & -left) * 2 - 1) if left else 0
    return [(one, left & below), (two, right & above)]


def _propagate(
    domains: list[int], clues: Sequence[Sequence[Any]], houses: int, report: Callable[[str, int, int], None]
) -> bool:
    """Narrow the domains in place until nothing changes; return False where one becomes empty.

    Args:
        report: called with a reason, an item and its new domain, whenever one is narrowed.
    """
    changed = True
    while changed:
        changed = False
        for number, clue in enumerate(clues, start=1):
            for item, domain in _narrowed(clue, domains):
                if domain != domains[item]:
                    domains[item] = domain
                    report(f"By clue {number}", item, domain)
                    if not domain:
                        return False
                    changed = True
        for item, domain in enumerate(domains):
            if domain & (domain - 1):
                continue  # not yet in one house
            first = item - item % houses
            for other in range(first, first + houses):
                if other != item and domains[other] & domain:
                    domains[other] &= ~domain
                    report("As that house is taken", other, domains[other])
                    if not domains[other]:
                        return False
                    changed = True
    return True


def _arrangements(domains: Sequence[int], clues: Sequence[Sequence[Any]], houses: int) -> Iterator[list[int]]:
    """Yield every arrangement that the clues allow, as item → house."""
    domains = list(domains)
    if not _propagate(domains, clues, houses, lambda *_: None):
        return
    unsure = _least_sure(domains)
    if unsure is None:
        yield [domain.bit_length() - 1 for domain in domains]
        return
    for house in range(houses):
        if domains[unsure] >> house & 1:
            yield from _arrangements(_with(domains, unsure, house), clues, houses)


def _least_sure(domains: Sequence[int]) -> int | None:
    """Return an item with the fewest houses left but more than one; None where every item has its house."""
    open_items = [item for item, domain in enumerate(domains) if domain & (domain - 1)]
    return min(open_items, key=lambda item: domains[item].bit_count(), default=None)


def _with(domains: Sequence[int], item: int, house: int) -> list[int]:
    return [*domains[:item], 1 << house, *domains[item + 1 :]]


def _pose_zebra(facts: Facts) -> Problem | None:
    houses = facts["houses"]
    clues = _enough_clues(Random(facts["seed"]), houses, facts["places"])
    attributes = ATTRIBUTES[: facts["attributes"]]
    names = [value for _, values in attributes for value in values[:houses]]
    steps: list[str] = []
    places = _work_out([(1 << houses) - 1] * len(names), clues, houses, names, steps)
    if places is None:
        return None
    residents = ([names[item] for item, place in enumerate(places) if place == house] for house in range(houses))
    answer = "; ".join(f"{house}: {', '.join(row)}" for house, row in enumerate(residents, start=1))
    question = (
        f"{houses} houses stand in a row, numbered 1 to {houses} from left to right. Each has one value of every kind, and no two "
        "houses share a value.\n"
        + "".join(f"{label.capitalize()}: {', '.join(values[:houses])}.\n" for label, values in attributes)
        + _numbered([_clue_text(clue, names) for clue in clues])
        + "\nList the values of each house."
    )
    return Problem(question, answer, steps)


def _clue_text(clue: Sequence[Any], names: Sequence[str]) -> str:
    shape, one, two = clue
    if shape == "house":
        return f"{names[one]} is in house {two + 1}."
    where = {
        "same": "in the same house as",
        "left": "somewhere to the left of",
        "just left": "directly to the left of",
        "next": "next to",
    }[shape]
    return f"{names[one]} is {where} {names[two]}."


def _work_out(
    domains: list[int], clues: Sequence[Sequence[Any]], houses: int, names: Sequence[str], steps: list[str]
) -> list[int] | None:
    """Return the first arrangement, item → house, and append how it was found; None where there is none."""

    def report(reason: str, item: int, domain: int) -> None:
        where = " or ".join(str(house + 1) for house in range(houses) if domain >> house & 1)
        steps.append(f"{reason}, {names[item]} is in {f'house {where}' if where else 'no house, which is impossible'}.")

    if not _propagate(domains, clues, houses, report):
        return None
    unsure = _least_sure(domains)
    if unsure is None:
        return [domain.bit_length() - 1 for domain in domains]
    for house in range(houses):
        if domains[unsure] >> house & 1:
            steps.append(f"Suppose that {names[unsure]} is in house {house + 1}.")
            found = _work_out(_with(domains, unsure, house), clues, houses, names, steps)
            if found is not None:
                return found
            steps.append(f"So {names[unsure]} is not in house {house + 1}.")
    return None


def _read_houses(text: str) -> dict[int, list[str]] | None:
    """Return house → its values, sorted; None where a part is something else, or a house comes twice."""
    rows: dict[int, list[str]] = {}
    for part in re.split(r"[;\n]", text.lower()):
        if not part.strip():
            continue
        found = re.fullmatch(r"\s*(?:house\s*)?([0-9])\s*[:.)-]([\w\s,]*)\.?\s*", part)
        if found is None or int(found[1]) in rows:
            return None
        rows[int(found[1])] = sorted(re.split(r"[,\s]+", found[2].strip(" ,")))
    return rows or None


# Countdown: make a target of numbers. The checker accepts every expression that does.


def _draw_numbers(rng: Random, level: int) -> Facts:
    operations = "+-*" if level == 1 else "+-*/"
    while True:
        numbers = [rng.randint(1, 20 if level < 4 else 50) for _ in range(level + 2)]
        solution, value = _random_expression(rng, numbers, operations)
        if 0 < value <= 1000:
            return {"numbers": sorted(numbers), "target": value, "operations": operations, "solution": solution}


def _random_expression(rng: Random, numbers: Sequence[int], operations: str) -> tuple[str, int]:
    """Join two random parts by a random operation, without fractions, until one is left. Return the expression and its value."""
    parts = [(str(number), number) for number in numbers]
    while len(parts) > 1:
        left, one = parts.pop(rng.randrange(len(parts)))
        right, two = parts.pop(rng.randrange(len(parts)))
        operation = rng.choice(operations)
        if operation == "/" and (two == 0 or one % two):
            operation = "+"
        value = _apply(one, operation, two)
        joined = f"{left} {operation} {right}"
        parts.append((f"({joined})" if parts else joined, value))
    return parts[0]


_OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}


def _apply(one: int, operation: str, two: int) -> int:
    """Return the value of an operation that leaves no fraction."""
    return _OPERATORS[operation](one, two)


def _pose_numbers(facts: Facts) -> Problem:
    numbers, target, operations = facts["numbers"], facts["target"], facts["operations"]
    question = (
        f"Use each of the numbers {', '.join(map(str, numbers))} exactly once, with {' '.join(operations)} and parentheses, to make "
        f"{target}."
    )
    return Problem(question, facts["solution"], _evaluation(facts["solution"]))


def _evaluation(expression: str) -> list[str]:
    """Return a line for each operation of an expression made by `_random_expression`, innermost first."""
    steps = []
    while found := re.search(r"\((-?[0-9]+) ([-+*/]) (-?[0-9]+)\)|^(-?[0-9]+) ([-+*/]) (-?[0-9]+)$", expression):
        one, operation, two = (part for part in found.groups() if part is not None)
        value = _apply(int(one), operation, int(two))
        steps.append(f"{one} {operation} {two} = {value}")
        expression = expression[: found.start()] + str(value) + expression[found.end() :]
    return steps


def _check_numbers(given: str, facts: Facts, _answer: str) -> str:
    try:
        result = evaluate(given, division="/" in facts["operations"])
    except ExpressionError as error:
        return str(error)
    if sorted(result.numbers) != facts["numbers"]:
        return f"uses {result.numbers} instead of {facts['numbers']}"
    return "" if result.value == facts["target"] else f"makes {result.value} instead of {facts['target']}"


# Ciphers: decipher words. The key is given, so there is one answer.

_WORDS = (
    "apple arrow autumn bridge butter candle castle cherry circle cloud coffee copper corner cotton desert dinner "
    "dragon eagle engine family farmer feather finger flower forest garden ginger glass hammer harbor honey horse "
    "island jacket jungle kettle kitten ladder lemon letter lion market meadow mirror monkey mountain needle night "
    "ocean orange paper pencil pepper planet pocket potato puzzle queen quiet rabbit river rocket saddle school "
    "shadow silver sister spider spring stone summer sunset table temple thunder ticket tiger tower train turtle "
    "valley velvet village violin walnut water window winter yellow zebra"
)
WORDS = tuple(_WORDS.split())
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def _draw_cipher(rng: Random, level: int) -> Facts:
    # Level 1 shifts every letter alike; from level 2 on the alphabet is mirrored first, and from level 3 on there are several shifts.
    shifts = [rng.randint(1, 25) for _ in range(max(1, level - 1))]
    return {"words": [rng.choice(WORDS) for _ in range(level)], "shifts": shifts, "mirror": level > 1}


def _pose_cipher(facts: Facts) -> Problem:
    shifts, mirror, words = facts["shifts"], facts["mirror"], facts["words"]
    coded, steps, place = [], [], 0
    for word in words:
        letters, lines = [], []
        for plain in word:
            shift = shifts[place % len(shifts)]
            place += 1
            middle = ALPHABET[25 - ALPHABET.index(plain)] if mirror else plain
            letter = ALPHABET[(ALPHABET.index(middle) + shift) % 26]
            letters.append(letter)
            lines.append(f"{letter} - {shift} = {middle}" + (f", mirrored {plain}" if mirror else ""))
        coded.append("".join(letters))
        steps.append(f"{coded[-1]}: {'; '.join(lines)}. This is {word}.")
    how = f"was moved forward in the alphabet by {shifts[0]} places, from z on to a"
    if len(shifts) > 1:
        how = (
            f"was moved forward in the alphabet, from z on to a, by these numbers of places in turn: {', '.join(map(str, shifts))}; "
            "after the last number the first one follows again, across words"
        )
    first = "was replaced by its mirror letter (a by z, b by y and so on), and then " if mirror else ""
    question = f"Every letter {first}{how}. The result is: {' '.join(coded)}\nWhat was the text?"
    return Problem(question, " ".join(words), steps)


# Arithmetic in other bases.

DIGITS = "0123456789abcdef"


def _draw_sum(rng: Random, level: int) -> Facts:
    base = rng.choice([number for number in range(2, 17) if number != 10])
    digits = level + 1
    a, b = sorted((rng.randrange(base ** (digits - 1), base**digits) for _ in range(2)), reverse=True)
    return {"base": base, "terms": [a, b], "operation": rng.choice("+-" if level < 3 else "+-*")}


def _in_base(number: int, base: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, base)
        digits = DIGITS[digit] + digits
    return digits or "0"


def _pose_sum(facts: Facts) -> Problem:
    base, (a, b), operation = facts["base"], facts["terms"], facts["operation"]
    value = _apply(a, operation, b)
    steps = []
    for number in (a, b):
        digits = _in_base(number, base)
        powers = [f"{int(digit, 16)}*{base}^{power}" for power, digit in zip(reversed(range(len(digits))), digits, strict=True)]
        steps.append(f"{digits} = {' + '.join(powers)} = {number} in base 10")
    steps.append(f"{a} {operation} {b} = {value} in base 10")
    rest = value
    while rest:
        steps.append(f"{rest} = {rest // base} * {base} + {rest % base}, digit {DIGITS[rest % base]}")
        rest //= base
    letters = (
        ""
        if base <= 10
        else f" The letters a to {DIGITS[base - 1]} are the digits from 10 on."
        if base > 11
        else " The letter a is the digit 10."
    )
    question = f"Compute {_in_base(a, base)} {operation} {_in_base(b, base)} in base {base}, and give the result in base {base}.{letters}"
    return Problem(question, _in_base(value, base), steps)


def _check_sum(given: str, facts: Facts, answer: str) -> str:
    digits = given.lower()
    if not re.fullmatch(r"[0-9a-f]{1,100}", digits) or max(map(DIGITS.index, digits)) >= facts["base"]:
        return f"{given[:60]!r} is no number in base {facts['base']}"
    return "" if (digits.lstrip("0") or "0") == answer else f"{given[:60]!r} is not the answer"


# Sorting: numbers, numbers with signs and decimals, or words, in one of two directions. No item comes twice.


def _draw_items(rng: Random, level: int) -> Facts:
    count = 3 + 2 * level
    kind = rng.choice(
        ("integers",) if level == 1 else ("integers", "decimals") if level == 2 else ("integers", "decimals", "words")
    )
    if kind == "words":
        items = rng.sample(WORDS, count)
    elif kind == "integers":
        items = [str(number) for number in rng.sample(range(-99, 100) if level > 1 else range(100), count)]
    else:
        items = [f"{number / 10:.1f}" for number in rng.sample(range(-999, 1000), count)]
    return {"items": items, "kind": kind, "descending": rng.random() < 0.5}


def _pose_items(facts: Facts) -> Problem:
    key: Callable[[str], Any] = str if facts["kind"] == "words" else float
    descending = facts["descending"]
    done: list[str] = []
    steps = []
    for item in facts["items"]:
        place = sum((key(other) > key(item)) if descending else (key(other) < key(item)) for other in done)
        done.insert(place, item)
        steps.append(f"Insert {item}: {', '.join(done)}")
    order = "alphabetical order" if facts["kind"] == "words" else "order from smallest to largest"
    if descending:
        order = "reverse alphabetical order" if facts["kind"] == "words" else "order from largest to smallest"
    question = f"Put these {'words' if facts['kind'] == 'words' else 'numbers'} in {order}: {', '.join(facts['items'])}."
    return Problem(question, ", ".join(done), steps)


def _read_items(text: str) -> list[str]:
    return re.split(r"[,;\s]+", text.lower().strip().strip("[]").strip(" ,;."))


# Shortest paths in a graph with weights. The checker accepts every shortest path.


def _draw_graph(rng: Random, level: int) -> Facts:
    count = 3 + 2 * level
    edges = {
        (rng.randrange(node), node): rng.randint(1, 9) for node in range(1, count)
    }  # a tree, so that every node is reached
    spare = [pair for pair in combinations(range(count), 2) if pair not in edges]
    for pair in rng.sample(spare, min(count - 1, len(spare))):
        edges[pair] = rng.randint(1, 9)
    labels = rng.sample(range(count), count)  # else the tree's root would always be A
    named = sorted([*sorted((labels[a], labels[b])), weight] for (a, b), weight in edges.items())
    start = rng.randrange(count)
    # The farthest node makes the longest search; its number is no clue, since labels are random.
    end = _settled(named, start)[-1][1]
    return {"edges": named, "start": start, "end": end}


def _settled(edges: Sequence[Sequence[int]], start: int) -> list[tuple[int, int, int]]:
    """Return (distance, node, node before it) by rising distance from `start` (Dijkstra, 1959)."""
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for a, b, weight in edges:
        neighbours.setdefault(a, []).append((b, weight))
        neighbours.setdefault(b, []).append((a, weight))
    queue, done = [(0, start, start)], {}
    while queue:
        distance, node, before = heapq.heappop(queue)
        if node in done:
            continue
        done[node] = (distance, node, before)
        for other, weight in neighbours[node]:
            if other not in done:
                heapq.heappush(queue, (distance + weight, other, node))
    return list(done.values())


def _pose_graph(facts: Facts) -> Problem | None:
    start, end = facts["start"], facts["end"]
    settled = _settled(facts["edges"], start)
    before = {node: previous for _, node, previous in settled}
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    if len(path) < 3:
        return None  # a single edge needs no search
    steps = [f"Start at {ALPHABET[start].upper()} with distance 0."]
    for distance, node, previous in settled[1:]:
        steps.append(f"Nearest is {ALPHABET[node].upper()} at distance {distance}, from {ALPHABET[previous].upper()}.")
        if node == end:
            break
    roads = ", ".join(f"{ALPHABET[a]}-{ALPHABET[b]} {weight}".upper() for a, b, weight in facts["edges"])
    question = (
        f"These roads join towns and can be used both ways; the number is the length: {roads}.\n"
        f"Give a shortest way from {ALPHABET[start].upper()} to {ALPHABET[end].upper()}."
    )
    return Problem(question, "-".join(ALPHABET[node].upper() for node in reversed(path)), steps)


def _check_graph(given: str, facts: Facts, answer: str) -> str:
    nodes = [part.strip().lower() for part in re.split(r"->|→|-|,|\s", given.strip().rstrip(".")) if part.strip()]
    if not nodes or any(len(node) != 1 or node not in ALPHABET for node in nodes):
        return f"cannot read the way {given[:60]!r}"
    way = [ALPHABET.index(node) for node in nodes]
    if way[0] != facts["start"] or way[-1] != facts["end"]:
        return "does not lead from the start to the end"
    lengths = {frozenset((a, b)): weight for a, b, weight in facts["edges"]}

    def length(nodes: Sequence[int]) -> int | None:
        roads = [lengths.get(frozenset(pair)) for pair in pairwise(nodes)]
        return None if None in roads else sum(cast("list[int]", roads))

    found, best = length(way), length([ALPHABET.index(node) for node in answer.lower().split("-")])
    if found is None:
        return "uses a road that does not exist"
    return "" if found == best else f"has length {found} instead of {best}"


# Boolean logic: evaluate formulas under an assignment.


def _draw_formulas(rng: Random, level: int) -> Facts:
    variables = level + 2
    values = [rng.random() < 0.5 for _ in range(variables)]
    formulas = [_draw_formula(rng, variables, level) for _ in range(level + 3)]
    return {"values": values, "formulas": formulas}


def _draw_formula(rng: Random, variables: int, joints: int) -> list[Any]:
    """Return a formula with that many two-place operations."""
    if joints == 0:
        variable = ["variable", rng.randrange(variables)]
        return ["not", variable] if rng.random() < 0.3 else variable
    left = rng.randrange(joints)
    parts = (_draw_formula(rng, variables, left), _draw_formula(rng, variables, joints - 1 - left))
    return [rng.choice(("and", "or", "xor", "implies")), *parts]


def _formula_text(formula: Sequence[Any]) -> str:
    shape, *parts = formula
    if shape == "variable":
        return ALPHABET[15 + parts[0]]  # p, q, r, …
    if shape == "not":
        return f"not {_formula_text(parts[0])}"
    return f"({_formula_text(parts[0])} {shape} {_formula_text(parts[1])})"


def _value(formula: Sequence[Any], values: Sequence[bool], steps: list[str]) -> bool:
    """Return the value of a formula, and append each operation."""
    shape, *parts = formula
    if shape == "variable":
        return bool(values[parts[0]])
    if shape == "not":
        return not _value(parts[0], values, steps)
    left, right = (_value(part, values, steps) for part in parts)
    result = {"and": left and right, "or": left or right, "xor": left != right, "implies": not left or right}[shape]
    steps.append(f"{_letter(left)} {shape} {_letter(right)} = {_letter(result)}")
    return result


def _letter(value: bool) -> str:
    return "T" if value else "F"


def _pose_formulas(facts: Facts) -> Problem | None:
    steps, results = [], []
    for number, formula in enumerate(facts["formulas"], start=1):
        operations: list[str] = []
        results.append(_value(formula, facts["values"], operations))
        steps.append(f"{number}. {'; '.join(operations)}. So formula {number} is {_letter(results[-1])}.")
    if len(set(results)) == 1:
        return None  # so that neither constant is ever right
    assignment = ", ".join(f"{ALPHABET[15 + i]} be {'true' if value else 'false'}" for i, value in enumerate(facts["values"]))
    question = (
        f"Let {assignment}. Evaluate the formulas; 'xor' is exclusive or, and 'x implies y' is false only if x is true and y "
        f"false.\n{_numbered([_formula_text(formula) for formula in facts['formulas']])}\nGive T or F for each, in order."
    )
    return Problem(question, ", ".join(map(_letter, results)), steps)


def _read_letters(text: str) -> str | None:
    """Return the truth values as letters; None where anything else stands among them."""
    words = [re.sub(r"^[0-9]{1,2}[.):]", "", word) for word in re.split(r"[,;\s]+", text.lower().strip(" .,;[]"))]
    letters = {"t": "T", "true": "T", "f": "F", "false": "F", "": ""}
    return "".join(letters[word] for word in words) if all(word in letters for word in words) else None


# Dates in the Gregorian calendar: several steps of days and weeks, forwards and backwards.


def _draw_dates(rng: Random, level: int) -> Facts:
    start = datetime.date(1900, 1, 1) + datetime.timedelta(days=rng.randrange(73_000))  # to the end of the 21st century
    moves = []
    for _ in range(level):
        unit = rng.choice(("days", "weeks"))
        amount = rng.randint(10, 90) if unit == "days" else rng.randint(2, 12)
        moves.append([amount if rng.random() < 0.6 else -amount, unit])
    return {"start": start.isoformat(), "moves": moves}


def _pose_dates(facts: Facts) -> Problem:
    date = datetime.date.fromisoformat(facts["start"])
    steps, asked = [], []
    for amount, unit in facts["moves"]:
        days = amount * 7 if unit == "weeks" else amount
        asked.append(f"{abs(amount)} {unit} {'later' if amount > 0 else 'earlier'}")
        steps.append(f"{asked[-1]} is {abs(days)} days from {date.isoformat()}.")
        date = _walk(date, days, steps)
    question = f"Start at {facts['start']} (year-month-day) and go {', then '.join(asked)}. Which date is that?"
    return Problem(question, date.isoformat(), steps)


def _walk(date: datetime.date, days: int, steps: list[str]) -> datetime.date:
    """Return the date that many days away, and append a line for each month on the way."""
    one = datetime.timedelta(days=1)
    left = abs(days)
    while left:
        if days > 0:
            edge = (date.replace(day=28) + 4 * one).replace(day=1)  # the first of the next month
            hop = min(left, (edge - date).days)
            date += hop * one
        else:
            edge = date.replace(day=1) - one  # the last of the month before
            hop = min(left, (date - edge).days)
            date -= hop * one
        left -= hop
        steps.append(f"{hop} days: {date.isoformat()}, {left} left.")
    return date


def _read_date(text: str) -> datetime.date | None:
    found = re.fullmatch(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})\.?", text.strip())
    try:
        return datetime.date(*map(int, found.groups())) if found else None
    except ValueError:  # there is no such day
        return None


FAMILIES: Mapping[str, Family] = {
    "knights-knaves": Family(
        _draw_people, _pose_people, _equals(_read_roles), levels=7, form="Zoe is a knight, Max is a knave"
    ),
    "zebra": Family(
        _draw_zebra,
        _pose_zebra,
        _equals(_read_houses),
        levels=5,
        form="1: Ida, black; 2: Oskar, grey",
        slow=True,
        key=lambda facts: f"zebra {facts['houses']} {facts['places']}",  # known before any clue is made, which takes time
    ),
    "countdown": Family(
        _draw_numbers,
        _pose_numbers,
        _check_numbers,
        levels=5,
        form="(1 + 2) * 3",
        key=lambda facts: (
            f"countdown-{'-'.join(map(str, facts['numbers']))}-to-{facts['target']}"
        ),  # as countdown-3, so that splits agree
    ),
    "cipher": Family(_draw_cipher, _pose_cipher, _equals(lambda text: text.lower().split()), levels=6, form="snow moon"),
    "base-arithmetic": Family(_draw_sum, _pose_sum, _check_sum, levels=6, form="1021", kind=TaskKind.MATH),
    "sorting": Family(_draw_items, _pose_items, _equals(_read_items), levels=6, form="1, 2, 3"),
    "graph-path": Family(_draw_graph, _pose_graph, _check_graph, levels=6, form="X-Y-Z"),
    "boolean-logic": Family(_draw_formulas, _pose_formulas, _equals(_read_letters), levels=6, form="T, F, T"),
    "dates": Family(_draw_dates, _pose_dates, _equals(_read_date), levels=6, form="1999-12-31", kind=TaskKind.MATH),
}
"""Name → family. Each is the environment `r1env/<name>`."""
