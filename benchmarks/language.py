"""The language reward's counter: CPU time per 500 words, right cases, hostile texts; a column for each detector that is there.

    python benchmarks/language.py [--data FOLDER]

Detectors are `stopwords`, and `py3langid` and `lingua` where they are installed. Sentences and labelled cases are those of the
tests; FOLDER may hold `gsm8k_test.jsonl`, whose solutions are terse English.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from r1env.errors import UsageError
from r1env_language import consistency, identify
from r1env_language.counting import MAX_CHARACTERS
from r1env_language.detectors import DETECTORS, Detector, get_detector

LABELS = Path(__file__).parents[1] / "tests/plugins"
TIMED = ("en", "fr", "de", "vi", "tr", "ru", "ar", "hi", "ko", "zh", "ja", "th")
RUNS = 15
HOSTILE = {
    "one letter": "a",
    "words of two letters": "ab ",
    "languages by turns": "the der это और ",
    "kana and kanji by turns": "あ漢",
    "look-alike letters": "aа",
    "letters that grow under NFKC": "\ufdfa",
    "combining marks by turns": "\u0301\u0323",
    "open brackets": "\\[",
    "open environments": "\\begin{align}",
    "open boxes with groups": "\\boxed{{}{}",
    "half dollars": "$a\n",
    "half links": "a+",
    "clauses of a word": "ab,cd",
}


def cpu_seconds(run: Callable[[], Any], runs: int = RUNS) -> float:
    """Median CPU seconds of a call, after one that is not counted."""
    run()
    taken = []
    for _ in range(runs):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def available() -> dict[str, Detector]:
    """The detectors that can be had here."""
    found = {}
    for name in DETECTORS:
        try:
            found[name] = get_detector(name)
        except UsageError as error:
            print(f"left out: {error}")
    return found


def long_text(sentences: list[str], language: str) -> tuple[str, float]:
    """Sentences over and over, with a formula in each fifth place, up to 500 words; and how many there are."""
    text = ""
    while (words := consistency(text, language).words) < 500:
        text += " ".join((*sentences, "$x^2 + 1 = 0$")) + "\n"
    return text, words


def microseconds(sentences: Mapping[str, list[str]], detector: Detector) -> dict[str, float]:
    """CPU microseconds for 500 words, by language."""
    taken = {}
    for language in TIMED:
        text, words = long_text(sentences[language], language)
        seconds = cpu_seconds(lambda: consistency(text, language, detector=detector))  # noqa: B023 - called at once
        taken[language] = seconds * 500 / words * 1e6
    return taken


def right_cases(cases: list[dict[str, Any]], detector: Detector) -> int:
    """Labelled mixtures whose share comes out within their tolerance."""
    shares = (consistency("".join(piece for _, piece in case["pieces"]), case["target"], detector=detector) for case in cases)
    return sum(
        abs((found.proportion or 0.0) - case["share"]) <= case["within"] for found, case in zip(shares, cases, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", default=os.environ.get("R1ENV_TEST_DATA"), help="folder with gsm8k_test.jsonl")
    arguments = parser.parse_args()
    sentences = json.loads((LABELS / "test_language_sentences.json").read_text("utf-8"))
    cases = [json.loads(line) for line in (LABELS / "test_language_cases.jsonl").read_text("utf-8").splitlines()]
    detectors = available()
    rows: dict[str, list[str]] = {}
    for detector in detectors.values():
        taken = microseconds(sentences, detector)
        for language, figure in taken.items():
            rows.setdefault(f"µs / 500 words, {language}", []).append(f"{figure:,.0f}")
        rows.setdefault("words/s, en", []).append(f"{500e6 / taken['en']:,.0f}")
        rows.setdefault(f"labelled cases right, of {len(cases)}", []).append(str(right_cases(cases, detector)))
        alone = [(language, sentence) for language, held in sentences.items() for sentence in held]
        named = sum(identify(sentence, detector=detector) == language for language, sentence in alone)
        rows.setdefault(f"sentences named, of {len(alone)}", []).append(str(named))
        if arguments.data:
            lines = (Path(arguments.data) / "gsm8k_test.jsonl").read_text("utf-8").splitlines()
            found = [consistency(json.loads(line)["answer"], "en", detector=detector).proportion or 0.0 for line in lines]
            low = sum(share < 0.95 for share in found)
            rows.setdefault(f"GSM8K solutions under 0.95 English, of {len(found):,}", []).append(str(low))
    print(f"| | {' | '.join(detectors)} |\n|---|{'---:|' * len(detectors)}")
    for label, figures in rows.items():
        print(f"| {label} | {' | '.join(figures)} |")
    print(f"\n| hostile, {MAX_CHARACTERS:,} characters | CPU ms | of a tenth |\n|---|---:|---:|")
    for label, unit in HOSTILE.items():
        text = unit * (MAX_CHARACTERS // len(unit))
        whole, tenth = (cpu_seconds(lambda: consistency(part, "en"), 3) for part in (text, text[: len(text) // 10]))  # noqa: B023
        print(f"| {label} | {whole * 1e3:,.0f} | {tenth * 1e3:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
