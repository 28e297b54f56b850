"""The same rewards in other RL stacks: one short module a stack, over one shared core.

    from r1env.adapters import trl                     # also verl, openrlhf
    reward_funcs = trl.reward_functions("zero")        # a preset, a rubric file, a rubric, a reward or its name

How a call passes through, and in which file:
`texts` (the model's text out of what the stack hands over) → `rows` (its row as a `Rollout`) → `scorer` (a `Score` for each, whatever
happened) → the stack's module (the score in that stack's words). `export` writes the file that a stack's command line wants.

The rules all of them keep:

1. They import nothing of the stack: they are plain functions, and work without it. `TESTED_WITH` names the release they were run with.
2. Called wrongly (no such reward, a name that clashes) they raise `UsageError`, when they are made. Once made, they never raise on
   account of a row, a completion or a reward.
3. What a score without a value becomes is said in the module's first lines. It is None where the stack can carry that, else a finite
   number of the user's choice, with the flag `error` beside it.
4. Metrics have the same keys every time.
5. A reward that can hang or grow runs in our workers (`isolation="process"`), never under a signal: any thread may call.
"""
