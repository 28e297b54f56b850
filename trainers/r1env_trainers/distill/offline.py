"""Method `sft`: the teacher answers, the student learns what is right and readable."""

from __future__ import annotations

from r1env.runs.run import Run
from r1env_trainers.distill.config import DistillConfig
from r1env_trainers.rejection.data import DATA, by_domain, extra_rows, write_data
from r1env_trainers.rejection.draw import demonstrations, draw_samples
from r1env_trainers.rejection.statistics import make_table, merged
from r1env_trainers.sft.data import FileDemonstrations, read_demonstrations
from r1env_trainers.sft.loop import tune


def distill_from_samples(config: DistillConfig, run: Run) -> None:
    """Draw, select, tune. What was drawn, and what was learnt, survives a crash at any moment."""
    data = run.stage_file(DATA)
    # All batches are told under step 0: the steps of this stage are the student's.
    shards = draw_samples(config, config.teacher, config.device, config.seed, run, step=0)
    rows = demonstrations(shards)
    extra = extra_rows(config.extra, len(rows), config.seed)
    write_data(data, [*rows, *extra])
    run.note(samples=make_table(merged(shard.counts for shard in shards), by_domain(extra)).model_dump()["data"])
    tune(config, FileDemonstrations(read_demonstrations(str(data)), config.seed), [], run)
