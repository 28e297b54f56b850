"""What goes wrong while a model trains, seen in the numbers it logs. No torch, no files but the run's own.

completions.py   numbers about rollouts that every trainer may log: accuracy by difficulty, lengths, reflective words
reflection.py    the words that DeepSeek-R1 counted
curves.py        the logged metrics of a stage, as the rules read them
rules.py         curves → alert, one pure function for each way a training goes wrong
monitor.py       the listener of a run that asks the rules after every step
"""

from r1env.monitoring.curves import Curves as Curves
from r1env.monitoring.monitor import Monitor as Monitor
from r1env.monitoring.rules import RULES as RULES
from r1env.monitoring.rules import Alert as Alert
