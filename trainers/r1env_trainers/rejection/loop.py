"""The trainer `rejection`: draw, select, mix, write."""

from __future__ import annotations

from r1env.runs.run import Run
from r1env.runs.tables import TABLE_JSON, write_table
from r1env.trainer import is_stage
from r1env_trainers.devices import choose_device
from r1env_trainers.models.load import check_model_name
from r1env_trainers.rejection.config import RejectionConfig
from r1env_trainers.rejection.data import DATA, by_domain, check_extra, extra_rows, write_data
from r1env_trainers.rejection.draw import check_draw, demonstrations, draw_samples
from r1env_trainers.rejection.statistics import make_table, merged


class RejectionTrainer:
    """The trainer plugin `rejection`. Leaves `data.jsonl` for `sft`, and the statistics as a table."""

    def check(self, config: RejectionConfig) -> None:
        choose_device(config.device)
        if config.engine == "transformers" and not is_stage(config.model):
            check_model_name(config.model)
        check_draw(config)
        check_extra(config.extra)

    def train(self, config: RejectionConfig, run: Run) -> None:
        if run.stage_file(TABLE_JSON).is_file():
            return  # written last: the stage was done, and only that was not yet remembered
        shards = draw_samples(config, config.model, config.device, config.seed, run)
        rows = demonstrations(shards)
        extra = extra_rows(config.extra, len(rows), config.seed)
        write_data(run.stage_file(DATA), [*rows, *extra])
        write_table(run, make_table(merged(shard.counts for shard in shards), by_domain(extra)))
