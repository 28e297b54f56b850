"""Each attack catches the careless reward that it is there for, and leaves sound rewards alone."""

from __future__ import annotations

import random
import re
import time
import unicodedata
from fractions import Fraction
from pathlib import Path

import pytest

import r1env
import r1env.audit as audit_package
from r1env.audit import SAMPLE_TASKS, FindingKind, audit
from r1env.rewards import Reward

FEW = SAMPLE_TASKS[:5]
SHORT = r1env.Limits(cpu_seconds=0.3, wall_seconds=0.5, memory_mb=512)


@r1env.reward
def sound(completion: str, answer: str) -> float:
    return float((r1env.parse_response(completion).answer or "") == answer)


@r1env.reward
def substring(completion: str, answer: str) -> float:
    return float(answer in completion)


@r1env.reward
def last_word(completion: str, answer: str) -> float:
    words = re.findall(r"[\w/]+", completion)
    return float(bool(words) and words[-1] == answer)


@r1env.reward
def begins_alike(completion: str, answer: str) -> float:
    given = r1env.parse_response(completion).answer or ""
    return float(given.startswith(answer) or answer.startswith(given))


@r1env.reward
def first_block(completion: str, answer: str) -> float:
    found = re.search(r"<answer>(.*?)</answer>", completion)
    return float(found is not None and found[1] == answer)


@r1env.reward
def not_far(completion: str, answer: str) -> float:
    try:
        return 0.0 if abs(float(r1env.parse_response(completion).answer or "") - float(answer)) > 0.01 else 1.0
    except ValueError:
        return 0.0


@r1env.reward
def normalised(completion: str, answer: str) -> float:
    return float(unicodedata.normalize("NFKC", (r1env.parse_response(completion).answer or "")) == answer)


@r1env.reward
def drops_asides(completion: str, answer: str) -> float:
    """Reads `0(or 43)` as 0, and anything times 0 as 0."""
    return float(
        re.sub(r"\(or [^()]*\)(\^0)?|(42 )?\+ 0", "", (r1env.parse_response(completion).answer or "")).strip() == answer
    )


@r1env.reward
def any_box(completion: str, answer: str) -> float:
    return float(f"\\boxed{{{answer}}}" in r1env.parse_response(completion).response)


@r1env.reward
def last_statement(completion: str, answer: str) -> float:
    stated = re.findall(r"(?:[Tt]he answer is|Answer:) ([^ \n]+?)\.?(?=\s|$)", r1env.parse_response(completion).response)
    return float(bool(stated) and stated[-1] == answer)


FLOATS = {
    "(2+\\sqrt{3})^{100}+(2-\\sqrt{3})^{100}": (2 + 3**0.5) ** 100 + (2 - 3**0.5) ** 100,
    "(2+\\sqrt{3})^{100}": (2 + 3**0.5) ** 100,
    "\\log_2(2^{100}+1)": 100.0,
    "100": 100.0,
    "\\cos(10^{-20})": 1.0,
    "1": 1.0,
    "10^{40}+1": 1e40,
    "10^{40}": 1e40,
}


@r1env.reward
def in_floats(completion: str, answer: str) -> float:
    text = r1env.parse_response(completion).answer or ""
    return float(text == answer or (text in FLOATS and answer in FLOATS and FLOATS[text] == FLOATS[answer]))


@r1env.reward
def reads_ratios(completion: str, answer: str) -> float:
    def value(text: str) -> object:
        found = re.fullmatch(r"(\d+):(\d*[1-9]\d*|00)", text)
        return Fraction(int(found[1]), int(found[2]) or int(found[1])) if found else text

    return float(value(r1env.parse_response(completion).answer or "") == value(answer))


@r1env.reward
def drops_thousands_commas(completion: str, answer: str) -> float:
    return float(
        re.sub(r",\s*(?=\d{3}$)", "", (r1env.parse_response(completion).answer or "")) == re.sub(r",\s*(?=\d{3}$)", "", answer)
    )


@r1env.reward
def drops_percent_signs(completion: str, task: r1env.Task) -> float:
    text = r1env.parse_response(completion).answer or ""
    return float((re.sub(r"\\?%$", "", text) if "%" in task.question else text) == task.answer)


@r1env.reward
def leading_number(completion: str, answer: str) -> float:
    text = r1env.parse_response(completion).answer or ""
    found = re.match(r"-?[\d.]+(?=\W|[^\W\d])", text + " ")
    return float(text == answer or (found is not None and found[0] == answer))


@r1env.reward
def ends_of_intervals(completion: str, answer: str) -> float:
    return float((r1env.parse_response(completion).answer or "").strip("()[]") == answer.strip("()[]"))


@r1env.reward
def a_set_in_common(completion: str, answer: str) -> float:
    return float(bool(set((r1env.parse_response(completion).answer or "").split(", ")) & set(answer.split(", "))))


@r1env.reward
def drops_units(completion: str, answer: str) -> float:
    return float((r1env.parse_response(completion).answer or "").partition(" ")[0] == answer.partition(" ")[0])


@r1env.reward
def long_is_good(completion: str, answer: str) -> float:
    return float((r1env.parse_response(completion).answer or "") == answer or len(completion) > 100_000)


@r1env.reward
def form_by_pattern(completion: str) -> float:
    return float(re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", completion, re.DOTALL) is not None)


@r1env.reward(limits=SHORT)
def hangs(completion: str) -> float:
    while "\x00" in completion:
        pass
    return 1.0


@r1env.reward(limits=SHORT)
def sleeps(completion: str) -> float:
    time.sleep(3600)
    return 1.0


@r1env.reward
def raises(completion: str) -> float:
    return float(len(completion.encode()) < 100)


@r1env.reward(limits=SHORT)
def devours(completion: str) -> float:
    return float(len(bytearray(1 << 31)) > 0 if "\ud800" in completion else 1.0)


@r1env.reward
def rolls_dice(completion: str) -> float:
    return random.random()


@r1env.reward
def hashes(completion: str) -> float:
    return hash(completion) % 1000 / 1000


@r1env.reward(batch=True)
def ranks(completion: list[str]) -> list[float]:
    mean = sum(map(len, completion)) / len(completion)
    return [float(len(text) >= mean) for text in completion]


@r1env.reward
class Novelty:
    """1 unless the completion before was longer: state that outlives a rollout."""

    def __init__(self) -> None:
        self.before = 0

    def __call__(self, completion: str) -> float:
        longer, self.before = len(completion) >= self.before, len(completion)
        return float(longer)


@r1env.reward
def quadratic(completion: str) -> float:
    text = completion[:1_000_000]
    steps = 0
    while text.startswith("((((((((((("):
        text = text[100:]
        steps += text.count(")")
    return float(steps == 0)


def found_by(attack: str, reward: Reward) -> set[FindingKind]:
    """What that attack finds."""
    return {finding.kind for finding in audit(reward, FEW, only=(attack,)).findings}


@pytest.mark.parametrize(
    ("attack", "reward"),
    [
        ("empty", begins_alike),
        ("huge", long_is_good),
        ("echo", substring),
        ("many answers", substring),
        ("reasoning only", substring),
        ("tags in thinking", first_block),
        ("constants", not_far),
        ("negated", last_word),
        ("hedged", last_word),
        ("wrong answer", begins_alike),
        ("look-alikes", normalised),
        ("broken tags", form_by_pattern),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_attack_catches_the_reward_that_pays_for_it(attack: str, reward: Reward) -> None:
    assert found_by(attack, reward) == {FindingKind.ACCEPTED}


@pytest.mark.parametrize(
    ("attack", "task", "reward"),
    [
        ("known mistakes", "zero", drops_asides),
        ("hedged", "one", drops_asides),
        ("retracted", "sum", any_box),
        ("contradicting", "sum", any_box),
        ("contradicting", "choice", last_statement),
        ("known mistakes", "surds", in_floats),
        ("known mistakes", "logarithm", in_floats),
        ("known mistakes", "cosine", in_floats),
        ("known mistakes", "power", in_floats),
        ("known mistakes", "clock-half-hour", reads_ratios),
        ("known mistakes", "large-number", drops_thousands_commas),
        ("known mistakes", "two-numbers", drops_thousands_commas),
        ("known mistakes", "percent", drops_percent_signs),
        ("scale words", "sum", leading_number),
        ("known mistakes", "interval", ends_of_intervals),
        ("known mistakes", "list", a_set_in_common),
        ("known mistakes", "unit", drops_units),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_the_corpus_catches_the_faults_of_real_math_rewards(attack: str, task: str, reward: Reward) -> None:
    tasks = sorted(SAMPLE_TASKS, key=lambda sample: sample.id != task)[:2]
    findings = audit(reward, tasks, only=(attack,)).findings
    assert task in {finding.task_id for finding in findings}, findings
    assert {finding.kind for finding in findings} == {FindingKind.ACCEPTED}


@pytest.mark.parametrize(
    "words",
    ["million", "millions", "thousand", "万", "万元", "亿", "тысяч", "млн", "lakh", "bn", "elevenths", "degrees below zero"],
)
def test_each_word_that_changes_a_value_is_tried(words: str) -> None:
    takes_it = r1env.reward(name="takes_it")(
        lambda completion, answer: float((r1env.parse_response(completion).answer or "").removesuffix(words).strip() == answer)
    )
    (result,) = [result for result in audit(takes_it, FEW[:1], only=("scale words",)).attacks if result.found]
    assert all(finding.completion.endswith(f"{words}</answer>") for finding in result.findings)


def test_an_audit_depends_on_the_reward_and_the_tasks_alone() -> None:
    first, second = (audit(substring, FEW[:2], only=("echo", "hedged")) for _ in range(2))
    assert first.model_copy(update={"seconds": 0.0}) == second.model_copy(update={"seconds": 0.0})
    assert first.tasks == ("sum", "word-problem")


def test_nothing_of_the_audit_asks_which_plugins_there_are() -> None:
    folder = Path(audit_package.__file__).parent
    for file in folder.glob("*.py"):
        assert "r1env.plugins" not in file.read_text("utf-8"), file


@pytest.mark.parametrize(
    ("attack", "kind", "reward"),
    [
        ("hostile texts", FindingKind.HUNG, hangs),
        ("hostile texts", FindingKind.RAISED, raises),
        ("hostile texts", FindingKind.MEMORY, devours),
        ("repeatability", FindingKind.UNSTABLE, rolls_dice),
        ("repeatability", FindingKind.UNSTABLE, hashes),
        ("repeatability", FindingKind.UNSTABLE, ranks),
        ("repeatability", FindingKind.UNSTABLE, Novelty),
        ("growth", FindingKind.SLOW, quadratic),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_reward_that_fails_or_wavers_is_caught(attack: str, kind: FindingKind, reward: Reward) -> None:
    assert found_by(attack, reward) == {kind}


@pytest.mark.parametrize(
    ("reward", "circumstance"),
    [
        (rolls_dice, "scored again"),
        (hashes, "scored in another process"),
        (ranks, "scored together with others"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_change_is_told_with_its_circumstance(reward: Reward, circumstance: str) -> None:
    first, *_ = audit(reward, FEW, only=("repeatability",)).findings
    assert first.reason.endswith(f"when {circumstance}")


@pytest.mark.slow
def test_a_sound_reward_is_clean() -> None:
    report = audit(sound, SAMPLE_TASKS)
    assert report.clean, report.findings
    assert report.reads_answer
    assert set(report.right) == {"thinking and answer block", "end of a thought and answer block", "answer block"}
    assert report.tasks == tuple(task.id for task in SAMPLE_TASKS)
    assert all(result.tried for result in report.attacks if result.attack != "broken tags")


def test_a_finding_shows_what_was_paid_and_what_a_right_answer_is_paid() -> None:
    finding, *_ = audit(long_is_good, FEW, only=("huge",)).findings
    assert (finding.kind, finding.task_id, finding.value, finding.right) == (FindingKind.ACCEPTED, "sum", 1.0, 1.0)
    assert finding.length == 1_000_000
    assert len(finding.completion) <= 200


@pytest.mark.slow
def test_a_reward_that_hangs_on_everything_is_given_up_soon() -> None:
    report = audit(sleeps, FEW)
    assert not report.complete
    assert not report.clean
    assert report.items < 20
    assert {finding.kind for finding in report.findings} == {FindingKind.HUNG}


def test_a_reward_that_raises_on_everything_is_given_up_soon() -> None:
    broken = r1env.reward(name="broken")(lambda completion, answer: [][0])
    report = audit(broken, FEW)
    assert not report.complete
    assert report.items < 100
    assert "IndexError" in report.notes[-1]


def test_an_audit_ends_when_its_time_is_over_and_says_so() -> None:
    report = audit(sleeps, FEW, seconds=0.2)
    assert not report.complete
    assert "the time for the audit ran out" in {result.skipped for result in report.attacks}


def test_a_reward_that_never_looks_at_the_answer_is_not_attacked_about_it() -> None:
    report = audit(hashes, FEW, only=("constants", "wrong answer"))
    assert not report.reads_answer
    assert {result.tried for result in report.attacks if result.attack in ("constants", "wrong answer")} == {0}
    assert any("whatever the task's answer" in note for note in report.notes)


@r1env.reward
def english(completion: str, task: r1env.Task) -> float:
    letters = [char for char in r1env.parse_response(completion).thinking or "" if char.isalpha()]
    return sum(char.isascii() for char in letters) / len(letters) if letters else 0.0


def test_a_reward_that_reads_the_thinking_is_not_taken_for_one_that_pays_for_tags() -> None:
    report = audit(english, FEW, only=("broken tags",))
    assert report.clean, report.findings


@r1env.reward
def by_metadata(completion: str, task: r1env.Task) -> float:
    return float(completion.strip() == task.metadata["secret"])


def test_right_completions_are_the_measure_where_the_task_has_no_answer() -> None:
    tasks = [r1env.Task(id=name, prompt="say it", metadata={"secret": f"{name}!"}) for name in ("one", "two")]
    report = audit(by_metadata, tasks, right={"one": "one!", "two": "two!"})
    assert report.clean, report.findings
    assert report.reads_answer
    assert report.right == {"the row's completion": 2}


def test_a_right_completion_of_another_task_must_not_pay() -> None:
    tasks = [r1env.Task(id=name, prompt="say it", metadata={"secret": f"{name}!"}) for name in ("one", "two")]
    lax = r1env.reward(name="lax")(lambda completion, task: float(completion.endswith("!") and bool(task.metadata)))
    report = audit(lax, tasks, right={"one": "one!", "two": "two!"}, only=("wrong answer",))
    assert "wrong answer" in {finding.attack for finding in report.findings}


def test_a_right_completion_of_a_task_with_the_same_answer_may_pay() -> None:
    tasks = [r1env.Task(id=name, prompt="?", answer=answer) for name, answer in (("a", "4"), ("b", "4"), ("c", "5"))]
    right = {task.id: f"<answer>{task.answer}</answer>" for task in tasks}
    assert audit(sound, tasks, right=right, only=("wrong answer",)).clean


def test_an_unknown_attack_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(r1env.UsageError, match="did you mean 'empty'"):
        audit(sound, FEW, only=("emtpy",))


def test_nothing_to_audit_on_is_refused() -> None:
    with pytest.raises(r1env.UsageError, match="at least one task"):
        audit(sound, [])


def test_a_strangers_abstention_is_no_finding() -> None:
    silent = r1env.reward(name="silent")(lambda completion, answer: None)
    report = audit(silent, FEW)
    assert report.clean
    assert report.scored == 0
    assert "nothing it was given got a value" in report.notes[-1]
