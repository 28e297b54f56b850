"""What a job gives out, and when it is finished."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from r1env.errors import UsageError
from r1env.rewards import reward
from r1env.scoring.pool import FIRST_CHUNK, KILLS, KILLS_IN_A_ROW, MAX_CHUNK, MOST_KILLS, Job, pack_reward
from r1env.scoring.process import StartError
from r1env.types import Rollout, Score, Status

MakeRollouts = Callable[..., list[Rollout]]


@reward(name="length", isolation="process")
def length(completion: str) -> float:
    return float(len(completion))


@pytest.fixture
def job(rollouts: MakeRollouts) -> Job:
    return Job(pack_reward(length), rollouts(*map(str, range(1000))))


def test_the_first_chunks_are_small_because_nothing_is_known(job: Job) -> None:
    assert job.take(workers=2) == list(range(FIRST_CHUNK))


def test_chunks_of_quick_items_grow_to_the_maximum(job: Job) -> None:
    job.note_pace(seconds=0.001, items=10)
    assert len(job.take(workers=2)) == MAX_CHUNK


def test_chunks_of_slow_items_hold_one(job: Job) -> None:
    job.note_pace(seconds=4.0, items=4)
    assert len(job.take(workers=2)) == 1


def test_chunks_recover_from_one_slow_item(job: Job) -> None:
    job.note_pace(seconds=2.0, items=1)
    for _ in range(20):
        job.note_pace(seconds=0.001, items=1)
    assert len(job.take(workers=2)) > 10


def test_chunks_shrink_towards_the_end(rollouts: MakeRollouts) -> None:
    job = Job(pack_reward(length), rollouts(*map(str, range(16))))
    job.note_pace(seconds=0.001, items=10)
    sizes = []
    while chunk := job.take(workers=2):
        sizes.append(len(chunk))
    assert sizes == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def test_items_of_a_spoiled_chunk_are_scored_one_by_one_and_the_others_as_before(job: Job) -> None:
    job.note_pace(seconds=0.001, items=1000)
    chunk = job.take(workers=2)
    job.separate(chunk[1:3])
    job.put_back(chunk[1:])
    assert [job.take(workers=2) for _ in range(2)] == [[1], [2]]
    assert job.take(workers=2)[0] == 3
    assert len(job.take(workers=2)) > 10


def test_what_is_put_back_is_taken_again_in_order(job: Job) -> None:
    chunk = job.take(workers=2)
    job.put_back(chunk[1:])
    assert job.take(workers=2) == [1, 2, 3, 4]


def test_the_future_has_the_scores_in_order_once_all_are_recorded(rollouts: MakeRollouts) -> None:
    job = Job(pack_reward(length), rollouts("a", "b"))
    job.record(1, [Score(value=1.0)])
    assert not job.future.done()
    job.record(0, [Score(value=0.0)])
    assert [score.value for score in job.future.result()] == [0.0, 1.0]


def test_a_job_without_rollouts_is_finished() -> None:
    assert Job(pack_reward(length), []).future.result() == []


def test_failing_the_rest_leaves_what_was_taken_to_its_taker(rollouts: MakeRollouts) -> None:
    job = Job(pack_reward(length), rollouts("a", "b"))
    (taken,) = job.take(workers=2)
    job.fail_rest(Status.ERROR, "cannot be loaded")
    assert not job.future.done()
    job.record(taken, [Score(value=1.0)])
    assert [score.status for score in job.future.result()] == [Status.OK, Status.ERROR]


def killed_starts(job: Job, count: int, *, transient: bool) -> bool:
    """Note failed starts; return whether the last one has to be the end of the job."""
    for _ in range(count):
        ends = job.note_failed_start(StartError("killed by signal 9", transient=transient, killed=not transient))
    return ends


def test_only_kills_while_the_reward_is_loaded_end_a_job_by_their_number(job: Job) -> None:
    assert not killed_starts(job, 10 * KILLS_IN_A_ROW, transient=True)
    assert not killed_starts(job, KILLS_IN_A_ROW - 1, transient=False)
    assert killed_starts(job, 1, transient=False)


def test_a_score_forgives_failed_starts_and_a_failure_does_not(job: Job) -> None:
    first, second, *_ = job.take(workers=2)
    killed_starts(job, KILLS_IN_A_ROW - 1, transient=False)
    job.record(first, [Score(value=1.0)])
    assert not killed_starts(job, KILLS_IN_A_ROW - 1, transient=False)
    job.fail([second], Status.ERROR, "cannot be loaded")
    assert killed_starts(job, 1, transient=False)


def test_a_cancelled_job_has_nothing_to_take_and_ignores_scores(rollouts: MakeRollouts) -> None:
    job = Job(pack_reward(length), rollouts("a"))
    job.future.cancel()
    assert job.take(workers=1) == []
    job.record(0, [Score(value=1.0)])
    job.abort(UsageError("too late"))
    assert job.future.cancelled()


def test_a_reward_that_holds_something_unpicklable_is_refused_at_once() -> None:
    generator = (text for text in ["a"])

    @reward(isolation="process")
    def holds_a_generator(completion: str) -> float:
        return float(generator is None)

    with pytest.raises(UsageError, match=r"'holds_a_generator' cannot be sent to a worker.*generator"):
        pack_reward(holds_a_generator)


def test_an_item_whose_worker_is_killed_has_more_attempts_where_others_are_killed_too(job: Job) -> None:
    first, second, third, *_ = job.take(workers=2)
    assert [job.try_again(first) for _ in range(KILLS)] == [True] * (KILLS - 1) + [False]
    job.fail([first], Status.ERROR, "killed")
    assert [job.try_again(second) for _ in range(KILLS - 1)] == [True] * (KILLS - 1), (
        "one that fails is no sign of a killer outside"
    )
    job.record(second, [Score(value=1.0)])
    assert [job.try_again(third) for _ in range(KILLS + 1)] == [True] * KILLS + [False]


def test_no_number_of_others_gives_an_item_attempts_without_end(rollouts: MakeRollouts) -> None:
    job = Job(pack_reward(length), rollouts(*map(str, range(100))))
    for index in range(50):
        job.try_again(index)
        job.record(index, [Score(value=1.0)])
    assert [job.try_again(60) for _ in range(MOST_KILLS)] == [True] * (MOST_KILLS - 1) + [False]
