"""What goes wrong while a model trains, seen in the numbers it logs. No torch, no files but the run's own.

rules.py     metrics of rollouts that any trainer can log, the curves of a stage, and one pure function for each way a training fails
monitor.py   the run listener that asks the rules after every step
"""

from r1env.monitoring.monitor import Monitor as Monitor
from r1env.monitoring.rules import RULES as RULES
from r1env.monitoring.rules import Alert as Alert
from r1env.monitoring.rules import Curves as Curves
