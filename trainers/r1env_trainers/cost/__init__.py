"""What a stage will cost, reckoned before it starts: pure functions from sizes to seconds and bytes.

`shape.py` has the sizes of a model, `hardware.py` those of a machine, `step.py` the formulas and their fitted constants, `stages.py` the
estimates of trainers' settings. `tests/trainers/test_cost.py` holds the formulas against everything that was measured.
"""
