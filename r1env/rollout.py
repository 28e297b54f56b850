"""Play episodes: generate the model's turns of tasks with an engine and return the finished episodes with their tokens.

Training, evaluation, rejection sampling and distillation play their episodes here, and see the same tokens. An episode is one
append-only sequence of token ids. The tokens that the model sampled are kept and never re-tokenized: their text need not give the
same tokens again, and a chat template may drop the thinking of earlier turns. The environment's replies are tokenized separately and
appended.

An engine that takes only text (not a `TokenEngine`) receives the whole conversation in every turn, and tokenizes it each time.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from r1env.engines import ChatEngine, Engine, OnFinished, SamplingParams, TokenEngine, derive_seed
from r1env.envs.conversation import MAX_ERROR, Episode, Tool, submit_all
from r1env.envs.environment import Environment
from r1env.errors import TrainingStoppedError, UsageError
from r1env.types import Completion, Conversation, FinishReason, Message, Rollout, Score, Task

logger = logging.getLogger(__name__)


def play(
    tasks: Sequence[tuple[Environment, Task]],
    engine: Engine,
    params: SamplingParams,
    on_done: OnDone | None = None,
) -> list[Trajectory]:
    """Play `params.n` episodes of each task and return them in task-major order.

    All episodes whose templates have the same stop strings take their turn in one call of the engine; the first turn of a task is
    sampled n times from one prompt. The stop strings of an environment's prompt template are added to those of `params`. Each call has
    a seed derived from `params.seed`; the first call uses that seed itself.

    No turn gets more tokens than fit into `engine.max_length`. If a reply leaves no room for another token of the model, the episode
    ends before the reply, as truncated, and is scored as it is.

    Args:
        on_done: called once for every episode as soon as it is over, while others may still be running.

    Raises:
        EngineError: the engine cannot answer.
        UsageError: the prompt of a task leaves no room in the model's context.

    >>> from r1env.engines import ScriptedEngine
    >>> from r1env.envs.environment import make_environment
    >>> environment = make_environment("add-1digit")
    >>> [one] = play([(environment, environment.task(0))], ScriptedEngine("7"), SamplingParams())
    >>> one.episode.ended_by
    <EndedBy.MODEL: 'model'>
    """
    if not isinstance(engine, TokenEngine):
        if any(environment.max_turns > 1 for environment, _ in tasks):
            logger.info("%s knows text only: it encodes the conversation anew for every turn", type(engine).__name__)
        return _take_all_turns(tasks, _MessageTurns(engine), params, on_done)
    return _take_all_turns(tasks, _TokenTurns(engine), params, on_done)


def sample_rollouts(
    environment: Environment, engine: Engine, tasks: Sequence[Task], params: SamplingParams, *, batch: int = 0
) -> list[list[Rollout]]:
    """Return `params.n` finished episodes of each task of one environment, in the order of the tasks; see `play`.

    Args:
        batch: index of this batch in an evaluation. Each batch has a seed derived from `params.seed`.
    """
    params = params.model_copy(update={"seed": derive_seed(params.seed, batch)})
    played = play([(environment, task) for task in tasks], engine, params)
    rollouts = [trajectory.episode.rollout() for trajectory in played]
    return [rollouts[start : start + params.n] for start in range(0, len(rollouts), params.n)]


@dataclass(slots=True)
class Trajectory:
    """An episode and its tokens. There are no tokens if the engine takes only text.

    Attributes:
        prompt: token ids of the opening.
        ids: token ids of everything after the prompt.
        sampled: for each of `ids`, True if the model sampled the token.
        logprobs: for each of `ids`, the log-probability from the sampler; 0 for the environment's tokens.
        truncated: a token limit cut a turn off, or the context was full.
        place: index in the result of `play`: `task * params.n + sample`.
        tools_as_user: number of replies of role `tool` that the chat template shows only as user messages; see `render_chat`.
        merged: number of replies that were merged into another message.
    """

    environment: Environment
    episode: Episode
    prompt: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    truncated: bool = False
    place: int = 0
    tools_as_user: int = 0
    merged: int = 0

    @property
    def tokens(self) -> list[int]:
        """The whole sequence so far, which the model reads before its next turn."""
        return [*self.prompt, *self.ids]

    def append(self, completion: Completion) -> None:
        """Append the tokens of the model's turn."""
        turn, logprobs = completion.token_ids or (), completion.logprobs or ()
        self.ids += turn
        self.sampled += [True] * len(turn)
        self.logprobs += logprobs
        self.truncated |= completion.finish_reason is FinishReason.LENGTH

    def read_replies(self, tokenizer: Any, max_length: int | None, *, chat: bool) -> None:
        """Append the environment's replies, or end the episode if no token of another turn would fit after them.

        If the chat template cannot show a reply, only this episode fails and has no score.
        """
        try:
            replies = self.episode.replies
            messages = self.episode.messages
            shown = reply_text(tokenizer, replies, chat=chat, so_far=messages[: len(messages) - len(replies)])
        except ChatTemplateError as error:
            self.episode.fail(str(error))
            return
        self.tools_as_user += shown.tools_as_user
        self.merged += shown.merged
        between = join_turns(tokenizer, self.ids, tokenizer(shown.text, add_special_tokens=False)["input_ids"])
        if not has_room(len(self.prompt) + len(self.ids) + len(between), max_length):
            self.truncated = True
            self.episode.stop()
            return
        self.ids += between
        self.sampled += [False] * len(between)
        self.logprobs += [0.0] * len(between)


def take_turns(trajectories: Sequence[Trajectory], completions: Sequence[Completion]) -> None:
    """Append a turn of the model to each trajectory and pass it to the environment. The environments answer concurrently."""
    for trajectory, completion in zip(trajectories, completions, strict=True):
        trajectory.append(completion)
    submit_all([(one.episode, completion) for one, completion in zip(trajectories, completions, strict=True)])


OnDone = Callable[[Sequence[Trajectory]], None]
"""Receives episodes that are over."""


def has_room(tokens: int, max_length: int | None) -> bool:
    """Return whether the model can sample at least one token after so many. `max_length` None means no limit."""
    return max_length is None or tokens < max_length


# The loop over turns, and what a turn is for each kind of engine.


def _take_all_turns(
    tasks: Sequence[tuple[Environment, Task]],
    turns: _TokenTurns | _MessageTurns,
    params: SamplingParams,
    on_done: OnDone | None,
) -> list[Trajectory]:
    trajectories: list[Trajectory] = []
    try:
        groups = []
        for environment, task in tasks:
            opened = turns.open(environment, task, params)
            trajectories += (trajectory for group in opened for trajectory in group)
            groups += [group for group in opened if not group[0].episode.done]
        for place, trajectory in enumerate(trajectories):
            trajectory.place = place
        if on_done is not None and (failed := [trajectory for trajectory in trajectories if trajectory.episode.done]):
            on_done(failed)
        calls = 0
        while groups:
            for (stop, chat, n), members in _by_settings(groups, params).items():
                calls += 1
                seed = params.seed if calls == 1 else derive_seed(params.seed, calls)
                how = params.model_copy(update={"n": n, "stop": stop, "chat": chat, "seed": seed})
                turns.take(members, how, on_done)
            going_on = [trajectory for group in groups for trajectory in group if not trajectory.episode.done]
            for trajectory in going_on:
                turns.read(trajectory, params)
            if on_done is not None and (stopped := [trajectory for trajectory in going_on if trajectory.episode.done]):
                on_done(stopped)
            groups = [[trajectory] for trajectory in going_on if not trajectory.episode.done]
        if shown_as_user := sum(trajectory.tools_as_user for trajectory in trajectories):
            logger.info("%d replies of role tool were shown as the user's: the chat template takes no such role", shown_as_user)
        if merged := sum(trajectory.merged for trajectory in trajectories):
            logger.info("%d replies were shown as part of another: the chat template wants user and assistant in turn", merged)
    finally:
        for trajectory in trajectories:  # those that an exception cut short: their environments are closed all the same
            trajectory.episode.close()
    return trajectories


def _by_settings(
    groups: Sequence[list[Trajectory]], params: SamplingParams
) -> dict[tuple[tuple[str, ...], bool, int], list[list[Trajectory]]]:
    """Groups by what they ask of the engine: stop texts, whether the prompt is a chat, and completions per prompt."""
    found: dict[tuple[tuple[str, ...], bool, int], list[list[Trajectory]]] = {}
    for group in groups:
        template = group[0].environment.template
        stop = tuple(dict.fromkeys((*params.stop, *template.stop)))
        found.setdefault((stop, params.chat and template.chat, len(group)), []).append(group)
    return found


class _TokenTurns:
    """Turns of an engine that takes and returns tokens."""

    def __init__(self, engine: TokenEngine) -> None:
        self._engine = engine

    def open(self, environment: Environment, task: Task, params: SamplingParams) -> list[list[Trajectory]]:
        """Return `params.n` episodes, in groups with one and the same prompt."""
        episodes = [environment.open(task) for _ in range(params.n)]
        return [
            [Trajectory(environment, episode, list(prompt)) for episode in members]
            for members in _alike(episodes)
            for prompt in [self._prompt(members, task, chat=params.chat and environment.template.chat)]
        ]

    def _prompt(self, members: Sequence[Episode], task: Task, *, chat: bool) -> list[int]:
        """Return the prompt of episodes that open alike. They fail where the chat template cannot show it."""
        episode = members[0]
        try:
            prompt = encode_prompt(self._engine.tokenizer, episode.messages, chat=chat, tools=episode.tools)
        except ChatTemplateError as error:
            for member in members:
                member.fail(str(error))
            return encode_prompt(self._engine.tokenizer, episode.messages, chat=False)  # for the record
        if not has_room(len(prompt), self._engine.max_length):
            raise UsageError(
                f"the prompt of task {task.id!r} has {len(prompt)} tokens and leaves no room in the model's context of "
                f"{self._engine.max_length}; drop the task, or use a model with a longer context"
            )
        return prompt

    def take(self, groups: Sequence[list[Trajectory]], params: SamplingParams, on_done: OnDone | None) -> None:
        """Take one turn of every episode; those of a group have the same tokens so far."""
        finish = _finisher([trajectory for group in groups for trajectory in group], on_done)
        self._engine.generate_tokens([group[0].tokens for group in groups], params, finish)

    def read(self, trajectory: Trajectory, params: SamplingParams) -> None:
        """Take the environment's reply in."""
        chat = params.chat and trajectory.environment.template.chat
        trajectory.read_replies(self._engine.tokenizer, self._engine.max_length, chat=chat)


class _MessageTurns:
    """Turns of an engine that knows text only. Its context limit shows as an EngineError, or as a turn that was cut off."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, environment: Environment, task: Task, params: SamplingParams) -> list[list[Trajectory]]:
        episodes = [environment.open(task) for _ in range(params.n)]
        return [[Trajectory(environment, episode) for episode in members] for members in _alike(episodes)]

    def take(self, groups: Sequence[list[Trajectory]], params: SamplingParams, on_done: OnDone | None) -> None:
        finish = _finisher([trajectory for group in groups for trajectory in group], on_done)
        episodes = [group[0].episode for group in groups]
        if isinstance(self._engine, ChatEngine):
            tools = [[tool.as_function() for tool in episode.tools] for episode in episodes]
            self._engine.generate_chat([episode.messages for episode in episodes], params, tools, finish)
            return
        answers = self._engine.generate([conversation_with_tools(episode) for episode in episodes], params)
        completions = [completion for group in answers for completion in group]
        finish(range(len(completions)), completions)

    def read(self, trajectory: Trajectory, params: SamplingParams) -> None:
        """Nothing: the conversation is encoded by the engine."""


def _finisher(trajectories: Sequence[Trajectory], on_done: OnDone | None) -> OnFinished:
    """Return what takes completions as turns of these trajectories, and passes on those that are over."""

    def finish(rows: Sequence[int], completions: Sequence[Completion]) -> None:
        take_turns([trajectories[row] for row in rows], completions)
        if on_done is not None and (over := [trajectories[row] for row in rows if trajectories[row].episode.done]):
            on_done(over)

    return finish


def conversation_with_tools(episode: Episode) -> Conversation:
    """Return the conversation with a system message that describes the tools, for an engine without a parameter for tools."""
    return next(_with_tools_in_words(episode.messages, episode.tools)) if episode.tools else episode.messages


def _alike(episodes: Sequence[Episode]) -> list[list[Episode]]:
    """All episodes as one group where they open with the same messages, each by itself otherwise. One that has failed is by itself."""
    if not episodes[0].has_state:
        return [list(episodes)]
    first = episodes[0].messages
    if all(episode.messages == first and not episode.done for episode in episodes):
        return [list(episodes)]
    return [[episode] for episode in episodes]


# Text to tokens. The tokenizer has the interface of those of transformers.


def encode_prompt(tokenizer: Any, messages: Conversation, *, chat: bool, tools: Sequence[Tool] = ()) -> list[int]:
    """Return the token ids of a conversation up to the beginning of the model's answer.

    Args:
        chat: use the tokenizer's chat template. If False, or if the tokenizer has none (a base model), the contents are joined as plain
            text, as R1-Zero's prompt requires.
        tools: the tools that the model may call, shown by the chat template. Plain text begins with a description of them.

    Raises:
        ChatTemplateError: the chat template cannot show these messages.
    """
    text = prompt_text(tokenizer, messages, chat=chat, tools=tools)
    bos, eos = tokenizer.bos_token, tokenizer.eos_token
    # A chat template writes the special tokens itself, and so does text that a template has made: none of them twice.
    special = not (chat and tokenizer.chat_template) and not (bos and text.startswith(bos))
    ids = cast(list[int], tokenizer(text, add_special_tokens=special)["input_ids"])
    # Some tokenizers end every text with their end of sequence (add_eos_token), after which there is nothing to answer.
    added_end = special and ids[-1:] == [tokenizer.eos_token_id] and not text.endswith(eos)
    return ids[:-1] if added_end else ids


def prompt_text(tokenizer: Any, messages: Conversation, *, chat: bool, tools: Sequence[Tool] = ()) -> str:
    """Return the text whose tokens `encode_prompt` returns; see there."""
    if chat and tokenizer.chat_template:
        return render_chat(tokenizer, messages, tools=tools).text
    return "\n".join([*([_tools_in_words(tools)] if tools else []), *(message["content"] for message in messages)])


class ChatTemplateError(UsageError):
    """A tokenizer's chat template cannot show a conversation."""


class ChatText(NamedTuple):
    """A conversation as a chat template writes it.

    Attributes:
        tools_as_user: number of messages of role `tool` that are shown as user messages, because the template does not support the role.
        merged: number of messages that were merged into another, because the template requires user and assistant to alternate.
    """

    text: str
    tools_as_user: int = 0
    merged: int = 0


def render_chat(
    tokenizer: Any, messages: Conversation, *, tools: Sequence[Tool] = (), generation_prompt: bool = True
) -> ChatText:
    """Return a conversation as the tokenizer's chat template writes it, with all keys of its messages.

    Templates differ in what they support, so these forms are tried in turn:

    - Arguments of tool calls are shown as objects; as JSON text where the template raises on objects, or prints them as Python would.
    - Where the template raises on role `tool`, or leaves such messages out, they become the user's, each between `<tool_response>` tags,
      neighbours in one message.
    - Where the template still raises (those of Llama 2 and Gemma want user and assistant in turn, Gemma's no system message) or leaves
      the system message out, neighbours of one role become one message, and the system message goes to the start of the first user message.
    - Where the template takes no notice of `tools`, their description goes to the end of the system message, or to the start of the
      first message where the template has no system messages.

    Args:
        generation_prompt: end with the opening of the model's turn.

    Raises:
        ChatTemplateError: the template raises on all of these, or leaves out what the system, the user or a tool said; the message has
            its first error.
    """
    fault = ""
    for form, merged in _forms(messages):
        try:
            text = _apply(tokenizer, form, tools, generation_prompt)
            tools_ignored = bool(tools) and text == _apply(tokenizer, form, (), generation_prompt)
        except Exception as error:  # noqa: BLE001 - a template is a program by the model's author; it may raise anything
            fault = fault or f"{type(error).__name__}: {error}"
            continue
        if any(str(arguments) in text for arguments in _python_arguments(form)):
            fault = fault or "it writes the arguments of a tool call as Python, not as JSON"
            continue
        if (left_out := _left_out(form, text)) is not None:
            fault = fault or f"it leaves out the message of role {left_out['role']} {left_out['content'][:60]!r}"
            continue
        if not tools_ignored:
            if merged:
                _warn_once(
                    "the chat template wants user and assistant in turn, or shows no system message: neighbouring messages are shown as one"
                )
            return ChatText(text, _tool_messages(messages) - _tool_messages(form), merged)
        _warn_once("the chat template takes no notice of tools: they are described in the system message instead")
        for told in _with_tools_in_words(messages, tools):
            with contextlib.suppress(ChatTemplateError):
                return render_chat(tokenizer, told, generation_prompt=generation_prompt)
        fault = "it has no place for a description of tools"
    raise ChatTemplateError(
        f"the tokenizer's chat template cannot show the conversation: {' '.join(fault.split())[:MAX_ERROR]}"
    )


def _apply(tokenizer: Any, messages: Conversation, tools: Sequence[Tool], generation_prompt: bool) -> str:
    given = {"tools": [tool.as_function() for tool in tools]} if tools else {}
    shown = tokenizer.apply_chat_template(list(messages), add_generation_prompt=generation_prompt, tokenize=False, **given)
    return cast(str, shown)


def _left_out(messages: Conversation, text: str) -> Message | None:
    """Return the first message of the system, the user or a tool that a template does not show; None where it shows them all.

    Templates may cut white space and write a tool's result as JSON. What the assistant said they may cut, as most do with its thinking.
    """
    squeezed: str | None = None
    for message in messages:
        content = message["content"]
        if message["role"] == "assistant" or content.strip() in text:
            continue
        squeezed = squeezed or "".join(text.split())
        written = (content, json.dumps(content, ensure_ascii=False)[1:-1], json.dumps(content)[1:-1])
        if not any("".join(one.split()) in squeezed for one in written):
            return message
    return None


def _forms(messages: Conversation) -> Iterator[tuple[Conversation, int]]:
    """The ways to put a conversation to a template, the plainest first; and how many messages became part of another for the sake of turns."""
    as_user = _tools_as_user(messages)
    alternating = _alternating(as_user)
    forms = [(messages, 0), (as_user, 0), (alternating, len(as_user) - len(alternating))]
    for number, (form, merged) in enumerate(forms):
        if number and form == forms[number - 1][0]:
            continue
        yield form, merged
        if any(message.get("tool_calls") for message in form):
            yield _with_text_arguments(form), merged


def _python_arguments(messages: Conversation) -> Iterator[dict[str, Any]]:
    """Arguments of tool calls, as objects, that Python prints otherwise than JSON."""
    for message in messages:
        for call in message.get("tool_calls", ()):
            given = call["function"].get("arguments")
            arguments = dict(given) if isinstance(given, Mapping) else {}
            if str(arguments) != json.dumps(arguments, ensure_ascii=False):
                yield arguments


def _with_text_arguments(messages: Conversation) -> Conversation:
    def as_text(call: Mapping[str, Any]) -> Mapping[str, Any]:
        function = call["function"]
        if not isinstance(function.get("arguments"), Mapping):
            return call
        return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}

    return tuple(
        cast(Message, {**message, "tool_calls": [as_text(call) for call in message["tool_calls"]]})
        if message.get("tool_calls")
        else message
        for message in messages
    )


def _tool_messages(messages: Conversation) -> int:
    return sum(message["role"] == "tool" for message in messages)


def _tools_as_user(messages: Conversation) -> Conversation:
    shown: list[Message] = []
    for is_tool, members in itertools.groupby(messages, key=lambda message: message["role"] == "tool"):
        if is_tool:
            content = "\n".join(f"<tool_response>\n{message['content']}\n</tool_response>" for message in members)
            shown.append({"role": "user", "content": content})
        else:
            shown += members
    return tuple(shown)


def _alternating(messages: Conversation) -> Conversation:
    """Return the conversation with neighbours of one role as one message, and the system message at the start of the first user message."""
    shown: list[Message] = []
    for message in messages:
        before = shown[-1] if shown else None
        if before is not None and before["role"] in (message["role"], "system"):
            joined = {**before, **message, "content": f"{before['content']}\n\n{message['content']}"}
            if before.get("tool_calls") or message.get("tool_calls"):
                joined["tool_calls"] = [*before.get("tool_calls", ()), *message.get("tool_calls", ())]
            shown[-1] = cast(Message, joined)
        else:
            shown.append(message)
    return tuple(shown)


def _with_tools_in_words(messages: Conversation, tools: Sequence[Tool]) -> Iterator[Conversation]:
    first, *rest = messages
    words = _tools_in_words(tools)
    if first["role"] == "system":
        yield (cast(Message, {**first, "content": f"{first['content']}\n\n{words}"}), *rest)
    else:
        yield ({"role": "system", "content": words}, *messages)
        yield (cast(Message, {**first, "content": f"{words}\n\n{first['content']}"}), *rest)


def _tools_in_words(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json.dumps(tool.as_function()["function"]) for tool in tools)
    return f'You can call these tools by writing <tool_call>{{"name": …, "arguments": {{…}}}}</tool_call>:\n{listed}'


@functools.cache
def _warn_once(message: str) -> None:
    logger.warning(message)


SENTINEL = "r1env-turn"
"""Stands for the model's turn where a template is asked what it writes after one."""


def reply_text(tokenizer: Any, replies: Conversation, *, chat: bool, so_far: Conversation = ()) -> ChatText:
    """Return the text between two turns of the model: the end of the first, the replies, and the opening of the second.

    Its tokens are appended to those so far. If the model sampled the template's end-of-turn token itself, see `join_turns`.

    The template is shown the conversation so far and the replies, with a stand-in for the model's last turn; what it writes after the stand-in
    is the result. So a template may count turns, and whatever it does to earlier turns does not matter. Where it raises, or does not
    show the stand-in, these are tried: the conversation without its tool calls, the stand-in at the end of what the model wrote,
    and a conversation of a question and the stand-in.

    Args:
        replies: empty for the end of the turn alone.
        chat: as in `encode_prompt`. A plain conversation goes on in a new line, and the model's next turn begins where the reply ends.
        so_far: the conversation up to the model's last turn, that one included.

    Raises:
        ChatTemplateError: the chat template cannot show the replies.
    """
    if not (chat and tokenizer.chat_template):
        return ChatText("".join(f"\n{reply['content']}" for reply in replies))
    written = [message["content"] for message in (*so_far, *replies)]
    candidates = (f"{SENTINEL}{number}." for number in itertools.count())
    sentinel = next(one for one in candidates if not any(one in text for text in written))
    fault = ChatTemplateError("the tokenizer's chat template does not show what the model said before")
    ways = list(_before_the_reply(so_far))
    for number, (before, text) in enumerate(ways):
        messages: Conversation = (*before, {"role": "assistant", "content": text + sentinel}, *replies)
        try:
            shown = render_chat(tokenizer, messages, generation_prompt=bool(replies))
        except ChatTemplateError as error:
            fault = error
            continue
        if sentinel in shown.text:
            if so_far and number == len(ways) - 1:
                _warn_once(f"replies are written as after a conversation of one question: {fault}")
            after = shown.text[shown.text.rindex(sentinel) + len(sentinel) :]
            as_user = _tools_as_user(replies)
            return ChatText(
                after,
                tools_as_user=_tool_messages(replies) if shown.tools_as_user else 0,
                merged=len(as_user) - len(_alternating(as_user)) if shown.merged else 0,
            )
    raise fault


def _before_the_reply(so_far: Conversation) -> Iterator[tuple[Conversation, str]]:
    """Yield what may stand before a reply, the likeliest first: earlier messages, and the text of the model's turn before the stand-in."""
    if so_far:
        *earlier, last = so_far
        yield tuple(earlier), ""
        if any("tool_calls" in message for message in earlier):
            bare = ({key: value for key, value in message.items() if key != "tool_calls"} for message in earlier)
            yield tuple(cast(Message, message) for message in bare), ""
        yield tuple(earlier), last["content"]
    yield ({"role": "user", "content": "?"},), ""


def join_turns(tokenizer: Any, turn: Sequence[int], between: Sequence[int]) -> list[int]:
    """Return `between` without the end-of-turn token that the model's turn already ends with."""
    ended = len(turn) > 0 and len(between) > 0 and turn[-1] == between[0] and turn[-1] in tokenizer.all_special_ids
    return list(between[1:] if ended else between)


# What every caller does about scoring that fails.


def stop_when_scoring_fails(scores: Sequence[Score], max_failed: float, what: str) -> None:
    """Raise TrainingStoppedError if scoring failed for more than the share `max_failed` of the scores.

    Args:
        what: what was scored, for the message: "the rollouts of a step".
    """
    reasons = [score.reason for score in scores if score.failed]
    if len(reasons) > max_failed * len(scores):
        commonest = max(set(reasons), key=reasons.count)
        raise TrainingStoppedError(
            f"scoring failed for {len(reasons) / len(scores):.0%} of {what} (limit {max_failed:.0%}, setting max_failed); "
            f"the commonest reason: {commonest}"
        )


def stop_when_unscored(scores: Sequence[Score], max_unscored: float, what: str) -> None:
    """Raise TrainingStoppedError if the share of scores without a value, for any reason, reaches `max_unscored`.

    Args:
        what: what was scored, for the message: "the rollouts of a step".
    """
    reasons = Counter(score.reason for score in scores if score.value is None)
    if scores and reasons.total() >= max_unscored * len(scores) and reasons:
        shown = "; ".join(f"{reason} ({count / len(scores):.0%})" for reason, count in reasons.most_common(3))
        raise TrainingStoppedError(
            f"{reasons.total() / len(scores):.0%} of {what} have no score (limit {max_unscored:.0%}, setting max_unscored): {shown}; a "
            "reward that returns None for tasks that are not its own needs the rubric's `on_none: skip`, or a mixture in which each "
            "environment has its own rubric"
        )
