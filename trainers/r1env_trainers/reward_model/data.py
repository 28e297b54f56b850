"""What reward models learn from: preference pairs and labelled completions.

    {"prompt": text or messages, "chosen": text, "rejected": text, "votes": [2, 1, 2, 1]}       pairwise
    {"prompt": text or messages, "completion": text, "safe": true}                              pointwise

Other layouts of pairs and labels are recognised too (see `r1env.data.layouts`). `votes` are a judge's, one a comparison, as `r1env label-pairs` writes them: how far the chosen response leads, from -2 to 2.
Pairs without votes (people's choices) are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from r1env.data.layouts import Example, read_examples
from r1env.envs.conversation import Tool
from r1env.errors import DataError, UsageError
from r1env.prompts import parse_response
from r1env.types import Conversation
from r1env_trainers.reward_model.config import Reads, RewardModelConfig
from r1env_trainers.sft.render import as_text
from r1env_trainers.sft.rows import tools_of

logger = logging.getLogger(__name__)

# Which preference pairs are worth learning from. Pure functions.
#
# R1 keeps pairs whose judged difference exceeds 1 and whose lengths are comparable over the whole set, since a judge likes long
# answers, and a reward model that has learnt "longer is better" teaches a policy to ramble.

BUCKETS_PER_DOUBLING = 4  # pairs whose lengths differ by a factor within 19 % of each other are of one bucket


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to a prompt, and which is the better one.

    Attributes:
        votes: of a judge, each how far `chosen` leads, from -2 to 2; empty where nobody voted.
        where: file and row, for messages.
        tools: that the conversation may call.
    """

    prompt: Conversation
    chosen: str
    rejected: str
    votes: tuple[float, ...] = ()
    where: str = field(default="a pair", compare=False)
    tools: tuple[Tool, ...] = ()

    @property
    def margin(self) -> float | None:
        """The mean vote; None without votes."""
        return math.fsum(self.votes) / len(self.votes) if self.votes else None


def select_pairs(pairs: Sequence[Pair], min_margin: float = 1.0, balance_lengths: bool = True) -> list[Pair]:
    """Return the pairs to train on, in their order.

    A pair whose votes prefer `rejected` is turned round. One with a mean vote of at most `min_margin`, or with two equal responses,
    is dropped.
    """
    turned = (_turned(pair) for pair in pairs)
    kept = [p for p in turned if p.chosen != p.rejected and (p.margin is None or p.margin > min_margin)]
    return balanced(kept) if balance_lengths else kept


def balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """Return a subset in which the length of a response tells nothing about which one was chosen.

    Pairs are sorted into buckets by the ratio of the two lengths, in characters. In each, as many pairs are kept whose chosen
    response is the longer one as pairs whose rejected one is: of the more frequent kind those with the largest margins, the earlier
    ones where these are equal. Pairs of equal lengths all stay.
    """
    buckets: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    kept: list[int] = []
    for place, pair in enumerate(pairs):
        difference = len(pair.chosen) - len(pair.rejected)
        if difference == 0:
            kept.append(place)
        else:
            buckets[_bucket(pair)][difference > 0].append(place)
    for shorter, longer in buckets.values():
        count = min(len(shorter), len(longer))
        for places in (shorter, longer):
            kept += sorted(places, key=lambda place: (-(pairs[place].margin or 0.0), place))[:count]
    return [pairs[place] for place in sorted(kept)]


def _bucket(pair: Pair) -> int:
    lengths = sorted((len(pair.chosen), len(pair.rejected)))
    return math.floor(BUCKETS_PER_DOUBLING * math.log2((lengths[1] + 1) / (lengths[0] + 1)))


def _turned(pair: Pair) -> Pair:
    if (pair.margin or 0.0) >= 0:
        return pair
    return replace(pair, chosen=pair.rejected, rejected=pair.chosen, votes=tuple(-vote for vote in pair.votes))


@dataclass(frozen=True, slots=True)
class Labelled:
    """A completion, and whether it is safe. `where` is its file and row, for messages."""

    prompt: Conversation
    completion: str
    safe: bool
    where: str = field(default="a row", compare=False)


@dataclass(frozen=True, slots=True)
class Examples:
    """Pairs, or labelled completions, to learn from (`train`) and to measure on (`heldout`); `facts` say what is worth knowing about them."""

    train: Sequence[Pair] | Sequence[Labelled]
    heldout: Sequence[Pair] | Sequence[Labelled]
    facts: tuple[str, ...] = ()


def open_examples(config: RewardModelConfig) -> Examples:
    """Read, cut to what the model reads, select, and split.

    Raises:
        UsageError: a file or row that cannot be used, or nothing is left to train on.
    """
    found = _open_pairs(config) if config.objective == "pairwise" else _open_labelled(config)
    if not found.train:
        raise UsageError(
            f"{config.data}: no row is left to train on; lower pairs.min_margin or eval.share, set pairs.balance_lengths=false, "
            "or bring more"
        )
    return found


def _open_pairs(config: RewardModelConfig) -> Examples:
    found = read_pairs(config.data, config.reads)
    pairs = select_pairs(found, config.pairs.min_margin, config.pairs.balance_lengths)
    selected = f"{len(pairs):,} of {len(found):,} pairs are selected (pairs.min_margin, pairs.balance_lengths)"
    facts = (*([selected] if len(pairs) < len(found) else []), *pair_facts(pairs))
    if config.eval.data is not None:
        return Examples(pairs, read_pairs(config.eval.data, config.reads), facts)
    return Examples(*split_by_prompt(pairs, config.eval.share, config.seed), facts)


def pair_facts(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return what is worth knowing about pairs: how many of them repeat an earlier one, and how many contradict one."""
    counts = Counter((json.dumps(pair.prompt), pair.chosen, pair.rejected) for pair in pairs)
    repeated = len(pairs) - len(counts)
    contradicted = sum(count for (prompt, one, other), count in counts.items() if (prompt, other, one) in counts)
    return tuple(
        f"{count:,} pairs {what}"
        for count, what in ((repeated, "repeat an earlier one"), (contradicted, "are also there the other way round"))
        if count
    )


def _open_labelled(config: RewardModelConfig) -> Examples:
    rows = _labelled(config.data, config.reads)
    if rows and len({row.safe for row in rows}) == 1:
        raise UsageError(
            f"{config.data}: every row is labelled {'safe' if rows[0].safe else 'unsafe'}, so there is nothing to tell apart; "
            "bring rows of both kinds"
        )
    if config.eval.data is not None:
        return Examples(rows, _labelled(config.eval.data, config.reads))
    return Examples(*split_by_prompt(rows, config.eval.share, config.seed))


def read_part(completion: str, reads: Reads) -> str:
    """Return the part of a completion that the model sees: the response after the thinking, or everything."""
    return parse_response(completion).summary if reads == "response" else completion


class _Prompted(Protocol):
    @property
    def prompt(self) -> Conversation: ...


P = TypeVar("P", bound=_Prompted)


def split_by_prompt(rows: Sequence[P], share: float, seed: int) -> tuple[list[P], list[P]]:
    """Return (the rest, about `share` of the rows), divided by a hash of the prompt, so that rows of one prompt stay together."""
    held = [_fraction(row.prompt, seed) < share for row in rows]
    return (
        [row for row, out in zip(rows, held, strict=True) if not out],
        [row for row, out in zip(rows, held, strict=True) if out],
    )


def _fraction(prompt: Conversation, seed: int) -> float:
    """Return a number in [0, 1) that depends on the prompt and the seed alone."""
    digest = hashlib.blake2b(json.dumps([seed, *prompt]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def read_pairs(file: str, reads: Reads = "completion") -> list[Pair]:
    """Return the preference pairs of a file, a folder or a hub data set, in every layout that `read_examples` knows.

    Pairs of two equal responses say nothing; they are counted and left out.

    Raises:
        UsageError: it cannot be read, or a row is no pair.
    """
    examples = read_examples(file, keep_instruction=True)
    pairs: list[Pair] = []
    equal = 0
    for place, row in enumerate(examples.rows):
        if "chosen" in row and row["chosen"] == row.get("rejected"):
            equal += 1
            continue
        example = examples[place]
        if not example.chosen:
            raise DataError(
                example.where, f"needs chosen and rejected; read as {example.layout}; its columns: {', '.join(row)}"
            )
        chosen, rejected = (read_part(_only_text(side, example), reads) for side in (example.chosen, example.rejected))
        pairs.append(Pair(example.prompt, chosen, rejected, _votes(example), example.where, tools_of(example)))
    if equal:
        logger.warning("%s: %d pairs of two equal responses are left out", file, equal)
    return pairs


def _labelled(file: str, reads: Reads) -> list[Labelled]:
    rows = []
    for example in read_examples(file, keep_instruction=True):
        if example.label is None or not example.demonstrations:
            raise DataError(
                example.where, f"needs a prompt, a completion and whether it is safe; its columns: {', '.join(example.row)}"
            )
        completion = read_part(_only_text(example.demonstrations[0], example), reads)
        rows.append(Labelled(example.prompt, completion, example.label, example.where))
    return rows


def _only_text(side: Conversation, example: Example) -> str:
    """Return the text of a response of one message."""
    if len(side) != 1 or side[0]["role"] != "assistant":
        raise DataError(
            example.where, f"a response should be one message of the assistant; found {[one['role'] for one in side]}"
        )
    return as_text(side[0])


def _votes(example: Example) -> tuple[float, ...]:
    votes = example.row.get("votes") or ()
    if not isinstance(votes, list | tuple) or not all(isinstance(vote, int | float) and math.isfinite(vote) for vote in votes):
        raise DataError(example.where, f"'votes' is {votes!r}; write a list of numbers from -2 to 2"[:200])
    return tuple(map(float, votes))
