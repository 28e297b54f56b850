"""Shows a run's metrics in somebody else's tool, beside `metrics.jsonl`, which has them always.

tracker.py       what a tracker is, and how to write one
delivered.py     which values a tracker was given, so that no step comes twice
follow.py        the listener of a run that hands them over, and never stops or slows the training
tensorboard.py   wandb.py   trackio.py
"""

from r1env.tracking.follow import Follower as Follower
from r1env.tracking.follow import followed as followed
from r1env.tracking.tracker import Tracker as Tracker
